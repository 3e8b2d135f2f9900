// The sampler against the exact distribution, and what it promises beyond it: greedy, seeds, ties, log-probabilities.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <map>
#include <random>
#include <set>

#include "device/launch.h"
#include "tests/phases/test_model.h"
#include "tests/reference/harness.h"
#include "tests/reference/oracle.h"
#include "tests/reference/sampler_reference.h"

using namespace vigil;
using namespace vigil::phases;
using reference::Harness;

namespace {

constexpr int kPrompt = 24;
constexpr int kMaxSeqLen = 4096;

// One layer is enough: the sampler sees logits only. The vocabulary fills many tiles and no whole number of them.
synth::ModelSpec spec() {
    auto spec = small_spec();
    spec.n_layers = 1;
    spec.vocab_size = 2500;
    return spec;
}

ring::SamplingParams plain(float temperature) {
    ring::SamplingParams params;
    params.temperature = temperature;
    params.top_k = 0;
    params.top_p = 1.0f;
    params.min_p = 0.0f;
    return params;
}

// A token under way up to its logits, from which the sample step can be run again and again.
class Sampler {
   public:
    Sampler(const gguf::File& file, const ring::SamplingParams& params)
        : harness_(file, reference::test_device(), {.max_seq_len = kMaxSeqLen}) {
        std::mt19937 random(11);
        for (int i = 0; i < kPrompt; ++i)  // few distinct tokens, so that penalties meet repeated ones
            history_.push_back(static_cast<std::int32_t>(random() % 12));
        auto job = harness_.make_job(history_, kPrompt - 1, kMaxSeqLen - kPrompt);
        job.sampling = params;
        harness_.submit(job, history_);
        const int n_steps = device::n_steps(harness_.config());
        for (int step = 0; step + 1 < n_steps; ++step) harness_.run_step(step);
        REQUIRE(device::step_at(harness_.config(), n_steps - 1).phase == ring::Phase::kSample);
        state_ = harness_.read_state();
        for (const float logit : harness_.read(harness_.args().act.logits, harness_.config().vocab_size))
            logits_.push_back(static_cast<double>(logit));
        distribution_ = reference::next_token_distribution(logits_, params, history_);
    }

    // What is drawn as if the token stood at `offset` positions after its own.
    ring::TokenEvent draw(std::uint64_t seed, int offset = 0) {
        device::DecodeState state = state_;
        state.job.sampling.seed = seed;
        state.position += offset;
        state.next_event = harness_.events_taken();
        state.events_consumed = harness_.events_taken();
        harness_.write_state(state);
        harness_.run_step(device::n_steps(harness_.config()) - 1);
        const auto events = harness_.take_events();
        REQUIRE(events.size() == 1);
        REQUIRE(events[0].kind == ring::EventKind::kToken);
        REQUIRE(events[0].token >= 0);
        REQUIRE(events[0].token < harness_.config().vocab_size);
        return events[0];
    }

    const std::vector<double>& logits() const { return logits_; }
    const std::vector<double>& distribution() const { return distribution_; }

   private:
    Harness harness_;
    std::vector<std::int32_t> history_;
    device::DecodeState state_;
    std::vector<double> logits_;
    std::vector<double> distribution_;
};

// The probability that chi-square with `df` degrees of freedom is at least `x`, by Wilson and Hilferty's cube root.
double chi_square_tail(double x, double df) {
    const double spread = 2.0 / (9.0 * df);
    const double z = (std::cbrt(x / df) - (1.0 - spread)) / std::sqrt(spread);
    return 0.5 * std::erfc(z / std::sqrt(2.0));
}

struct Fit {
    double tail = 1.0;           // probability of a worse fit by chance
    int impossible = 0;          // draws of tokens that have probability 0
    double logprob_error = 0.0;  // largest
};

Fit fit(Sampler& sampler, int n_draws, bool vary_position) {
    std::map<std::int32_t, int> counts;
    Fit result;
    for (int i = 0; i < n_draws; ++i) {
        const auto event = vary_position ? sampler.draw(99, i) : sampler.draw(static_cast<std::uint64_t>(i));
        ++counts[event.token];
        const double want = reference::log_softmax(sampler.logits(), event.token);
        result.logprob_error = std::max(result.logprob_error, std::abs(static_cast<double>(event.logprob) - want));
    }
    // Tokens too rare for a bin of their own share one.
    double statistic = 0.0;
    double rest_expected = 0.0;
    int rest_count = 0;
    int bins = 0;
    const auto add_bin = [&](double expected, int count) {
        statistic += (count - expected) * (count - expected) / expected;
        ++bins;
    };
    for (std::size_t token = 0; token < sampler.distribution().size(); ++token) {
        const double expected = sampler.distribution()[token] * n_draws;
        const auto found = counts.find(static_cast<std::int32_t>(token));
        const int count = found == counts.end() ? 0 : found->second;
        if (expected == 0.0) {
            result.impossible += count;
        } else if (expected < 5.0) {
            rest_expected += expected;
            rest_count += count;
        } else {
            add_bin(expected, count);
        }
    }
    if (rest_expected > 0.5) add_bin(rest_expected, rest_count);
    if (bins > 1) result.tail = chi_square_tail(statistic, bins - 1);
    return result;
}

struct NamedParams {
    const char* name;
    ring::SamplingParams params;
};

std::vector<NamedParams> parameter_sets() {
    std::vector<NamedParams> sets = {{"temperature 1", plain(1.0f)},
                                     {"temperature 0.4", plain(0.4f)},
                                     {"temperature 1.8", plain(1.8f)},
                                     {"the defaults", ring::SamplingParams{}}};
    auto params = plain(1.0f);
    params.top_k = 5;
    sets.push_back({"top-k 5", params});
    params = plain(1.0f);
    params.top_p = 0.7f;
    sets.push_back({"top-p 0.7", params});
    params = plain(1.0f);
    params.min_p = 0.08f;
    sets.push_back({"min-p 0.08", params});
    params = plain(1.5f);
    params.top_k = 60;
    params.top_p = 0.8f;
    params.min_p = 0.02f;
    sets.push_back({"top-k 60, top-p 0.8, min-p 0.02, temperature 1.5", params});
    params = plain(1.0f);
    params.repeat_penalty = 1.4f;
    params.frequency_penalty = 0.3f;
    params.presence_penalty = -0.8f;
    params.penalty_last_n = 10;
    sets.push_back({"all penalties over the last 10 tokens", params});
    params = ring::SamplingParams{};
    params.repeat_penalty = 0.7f;
    params.frequency_penalty = -0.5f;
    params.penalty_last_n = -1;
    sets.push_back({"the defaults and penalties that reward, over all tokens", params});
    params = plain(0.9f);
    params.top_k = 100000;
    params.top_p = 0.3f;
    sets.push_back({"top-k beyond the vocabulary, top-p 0.3", params});
    return sets;
}

std::vector<std::int32_t> generate(Harness& harness, const ring::SamplingParams& params, int n) {
    const std::vector<std::int32_t> prompt = {5, 6, 7};
    auto job = harness.make_job(prompt, 0, n);
    job.sampling = params;
    std::vector<std::int32_t> tokens;
    for (const auto& event : harness.run(job, prompt, host::Dispatch::launch)) {
        if (event.kind != ring::EventKind::kToken) continue;
        CHECK(std::isfinite(event.logprob));
        tokens.push_back(event.token);
    }
    return tokens;
}

// Rows 2i and 2i + 1 of the embedding, which is the output matrix too, become the same.
void pair_rows(const std::string& name, std::vector<std::byte>& data) {
    if (name != "token_embd.weight") return;
    const std::size_t row = spec().dim * 2;  // F16
    for (std::size_t at = 0; at + 2 * row <= data.size(); at += 2 * row)
        std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(at), row,
                    data.begin() + static_cast<std::ptrdiff_t>(at + row));
}

// Logits a hundred times as large.
void stretch_logits(const std::string& name, std::vector<std::byte>& data) {
    if (name != "output_norm.weight") return;
    for (std::size_t at = 0; at < data.size(); at += sizeof(float)) {
        float value;
        std::memcpy(&value, &data[at], sizeof value);
        value *= 100.0f;
        std::memcpy(&data[at], &value, sizeof value);
    }
}

}  // namespace

TEST_CASE("[full] draws follow the exact distribution, over seeds and over positions") {
    const TestModel model(spec());
    for (const auto& [name, params] : parameter_sets()) {
        CAPTURE(name);
        Sampler sampler(model.file(), params);
        for (const bool vary_position : {false, true}) {
            CAPTURE(vary_position);
            const Fit result = fit(sampler, 2000, vary_position);
            CHECK(result.tail > 1e-4);
            CHECK(result.impossible == 0);
            CHECK(result.logprob_error < 1e-4);
        }
    }
}

TEST_CASE("[full] the chi-square test would notice a wrong temperature") {
    const TestModel model(spec());
    Sampler sampler(model.file(), plain(1.0f));
    Sampler warmer(model.file(), plain(1.2f));
    std::map<std::int32_t, int> counts;
    double statistic = 0.0;
    int bins = 0;
    for (int i = 0; i < 2000; ++i) ++counts[warmer.draw(static_cast<std::uint64_t>(i)).token];
    for (std::size_t token = 0; token < sampler.distribution().size(); ++token) {
        const double expected = sampler.distribution()[token] * 2000;
        if (expected < 5.0) continue;
        const double difference = counts[static_cast<std::int32_t>(token)] - expected;
        statistic += difference * difference / expected;
        ++bins;
    }
    CHECK(chi_square_tail(statistic, bins - 1) < 1e-4);
}

TEST_CASE("temperature 0 and top-k 1 take the likeliest token whatever the seed") {
    const TestModel model(spec());
    auto only_one = plain(1.0f);
    only_one.top_k = 1;
    for (const auto& params : {plain(0.0f), only_one}) {
        Sampler sampler(model.file(), params);
        const int best = reference::argmax(sampler.logits());
        for (std::uint64_t seed = 0; seed < 20; ++seed) CHECK(sampler.draw(seed).token == best);
    }
}

TEST_CASE("greedy goes by the penalised scores, and its logprob by the model's own") {
    const TestModel model(spec());
    auto params = plain(0.0f);
    params.repeat_penalty = 0.2f;  // rewards what was there
    params.presence_penalty = -30.0f;
    Sampler sampler(model.file(), params);
    const int want = reference::argmax(sampler.distribution());
    CHECK(want != reference::argmax(sampler.logits()));
    const auto event = sampler.draw(1);
    CHECK(event.token == want);
    CHECK(static_cast<double>(event.logprob) == doctest::Approx(reference::log_softmax(sampler.logits(), want)));
}

TEST_CASE("the same seed draws the same tokens and another seed others") {
    const TestModel model(spec());
    Harness harness(model.file(), reference::test_device(), {.max_seq_len = 128});
    auto params = plain(1.0f);
    params.seed = 1;
    const auto first = generate(harness, params, 60);
    CHECK(first.size() == 60);
    CHECK(generate(harness, params, 60) == first);
    std::set<std::vector<std::int32_t>> distinct = {first};
    for (const std::uint64_t seed : {std::uint64_t{2}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
        params.seed = seed;
        distinct.insert(generate(harness, params, 60));
    }
    CHECK(distinct.size() == 4);
}

TEST_CASE("among equal logits greedy takes the lowest token id") {
    const TestModel model(spec(), {.edit = pair_rows});
    Sampler greedy(model.file(), plain(0.0f));
    const int best = reference::argmax(greedy.logits());
    REQUIRE(best % 2 == 0);
    REQUIRE(greedy.logits()[static_cast<std::size_t>(best)] == greedy.logits()[static_cast<std::size_t>(best) + 1]);
    CHECK(greedy.draw(1).token == best);
}

TEST_CASE("[full] equal logits are drawn equally often and never break a filter") {
    const TestModel model(spec(), {.edit = pair_rows});
    auto params = plain(1.0f);
    params.top_k = 6;
    Sampler sampler(model.file(), params);
    const Fit result = fit(sampler, 2000, false);
    CHECK(result.tail > 1e-4);
    CHECK(result.impossible == 0);

    params.top_k = 1;  // on a tie: one of the two
    Sampler tied(model.file(), params);
    for (std::uint64_t seed = 0; seed < 20; ++seed)
        CHECK(tied.draw(seed).token / 2 == reference::argmax(tied.logits()) / 2);
}

TEST_CASE("[full] logits of hundreds give finite log-probabilities and still the exact distribution") {
    const TestModel model(spec(), {.edit = stretch_logits});
    for (const float temperature : {1.0f, 100.0f, 0.01f}) {
        CAPTURE(temperature);
        Sampler sampler(model.file(), plain(temperature));
        const Fit result = fit(sampler, 1000, false);
        CHECK(result.tail > 1e-4);
        CHECK(result.impossible == 0);
        CHECK(result.logprob_error < 1e-3);
    }
}
