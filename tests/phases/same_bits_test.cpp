// The same bits, not just the same tokens, for any number of blocks and in every dispatch mode.
#include <doctest/doctest.h>
#include <random>

#include "ringbuf/ordering.h"
#include "tests/phases/test_model.h"
#include "tests/reference/harness.h"

using namespace vigil;
using namespace vigil::phases;
using host::Dispatch;
using reference::Harness;

namespace {

constexpr int kPrompt = 150;  // long enough that the KV length is cut into parts
constexpr int kNewTokens = 24;

// All that a run leaves behind, as bits.
struct Outcome {
    std::vector<std::int32_t> tokens;
    std::vector<std::uint32_t> logprobs, logits, residual;
    std::vector<std::uint16_t> keys, values;
    bool operator==(const Outcome&) const = default;
};

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
    std::vector<std::uint32_t> bits;
    for (const float value : values) bits.push_back(ring::float_bits(value));
    return bits;
}

struct Length {
    int n_cached = 0;  // of the prompt; what the KV cache holds already
    int n_new = kNewTokens;
};
constexpr Length kWholePrompt{};
constexpr Length kEndOfPrompt{.n_cached = 120};

Outcome generate(Harness& harness, Dispatch dispatch, const Length& length, std::uint64_t seed = 7) {
    std::mt19937 random(3);
    std::vector<std::int32_t> prompt(kPrompt);
    for (auto& token : prompt)
        token = static_cast<std::int32_t>(random() % static_cast<unsigned>(harness.config().vocab_size));
    auto job = harness.make_job(prompt, length.n_cached, length.n_new);
    job.sampling = {};
    job.sampling.seed = seed;
    job.sampling.repeat_penalty = 1.1f;
    Outcome outcome;
    for (const auto& event : harness.run(job, prompt, dispatch)) {
        if (event.kind != ring::EventKind::kToken) continue;
        outcome.tokens.push_back(event.token);
        outcome.logprobs.push_back(ring::float_bits(event.logprob));
    }
    const auto& act = harness.args().act;
    outcome.logits = bits_of(harness.read(act.logits, harness.config().vocab_size));
    // Its lowest bits count the tokens that were ever fed (device/seams/machine.cuh).
    outcome.residual = bits_of(harness.read(act.residual, harness.config().dim));
    for (std::uint32_t& word : outcome.residual) word &= ~std::uint32_t{3};
    outcome.keys = harness.read_keys();
    outcome.values = harness.read_values();
    return outcome;
}

synth::ModelSpec spec() {
    auto spec = small_spec("qwen3");
    spec.n_heads = 6;
    spec.vocab_size = 1000;
    return spec;
}

// Keys and values of either sign between 1/16 and 1/8, in every place of the cache.
void fill_cache(Harness& harness) {
    std::mt19937 random(5);
    std::vector<std::uint16_t> cache(harness.read_keys().size());
    for (auto& half : cache) half = static_cast<std::uint16_t>(0x2c00u | (random() & 0x83ffu));
    harness.write_cache(cache, cache);
}

Outcome run_once(const gguf::File& file, Dispatch dispatch, int n_blocks, const Length& length = kEndOfPrompt) {
    Harness harness(file, reference::test_device(), {.n_blocks = n_blocks, .max_kv_splits = 4});
    fill_cache(harness);
    return generate(harness, dispatch, length);
}

}  // namespace

TEST_CASE("any number of blocks gives the same bits") {
    const TestModel model(spec());
    const Outcome one = run_once(model.file(), Dispatch::launch, 1);
    CHECK(one.tokens.size() == kNewTokens);
    for (const int n_blocks : {2, 3, 5, 8}) {
        CAPTURE(n_blocks);
        CHECK((run_once(model.file(), Dispatch::launch, n_blocks) == one));
    }
}

TEST_CASE("any number of blocks gives the same bits in the resident loop") {
    const TestModel model(spec());
    const Outcome one = run_once(model.file(), Dispatch::persistent, 1);
    for (const int n_blocks : {2, 3, 5, 8}) {
        CAPTURE(n_blocks);
        CHECK((run_once(model.file(), Dispatch::persistent, n_blocks) == one));
    }
}

TEST_CASE("persistent, graph and launch dispatch give the same bits") {
    const TestModel model(spec());
    const Outcome launch = run_once(model.file(), Dispatch::launch, 2);
    CHECK(launch.tokens.size() == kNewTokens);
    CHECK((run_once(model.file(), Dispatch::graph, 2) == launch));
    CHECK((run_once(model.file(), Dispatch::persistent, 2) == launch));
}

TEST_CASE("jobs one after another on the same memory repeat themselves, whatever ran between") {
    const TestModel model(spec());
    Harness harness(model.file(), reference::test_device(), {.n_blocks = 2});
    const Outcome first = generate(harness, Dispatch::launch, kWholePrompt);
    const Outcome other = generate(harness, Dispatch::persistent, kWholePrompt, 8);
    CHECK(other.tokens != first.tokens);
    CHECK((generate(harness, Dispatch::persistent, kWholePrompt) == first));
    CHECK((generate(harness, Dispatch::launch, kWholePrompt) == first));
}

// While a prompt grows, attention takes parts into use whose words an earlier job has left, with an epoch that comes
// round again after some passes. Whether it does depends on the number of layers.
TEST_CASE("what an earlier job left of attention's parts is not taken for new") {
    for (const std::uint32_t layers : {1u, 2u, 3u}) {
        auto few_layers = spec();
        few_layers.n_layers = layers;
        const TestModel model(few_layers);
        Harness harness(model.file(), reference::test_device(), {.n_blocks = 3});
        const Outcome first = generate(harness, Dispatch::launch, kWholePrompt);
        for (const int n_new : {1, 2, 3, 4}) {
            CAPTURE(layers);
            CAPTURE(n_new);
            generate(harness, Dispatch::persistent, {.n_cached = 0, .n_new = n_new});
            CHECK((generate(harness, Dispatch::persistent, kWholePrompt) == first));
        }
    }
}

// For compute-sanitizer's racecheck, which is too slow for a whole prompt: a KV length that is cut into parts, few
// tokens.
TEST_CASE("[short] launch and persistent dispatch give the same bits after a prompt that is cached but for its end") {
    for (const std::uint32_t head_dim : {64u, 128u}) {
        CAPTURE(head_dim);
        auto heads = spec();
        heads.head_dim = head_dim;
        const TestModel model(heads);
        const Length length{.n_cached = kPrompt - 2, .n_new = 3};
        const Outcome launch = run_once(model.file(), Dispatch::launch, 3, length);
        CHECK(launch.tokens.size() == 3);
        CHECK((run_once(model.file(), Dispatch::persistent, 3, length) == launch));
    }
}
