// What prefill leaves in the KV cache, for whole models: against the oracle, against decode, and against itself.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <doctest/doctest.h>
#include <filesystem>
#include <functional>
#include <string>
#include <unistd.h>
#include <vector>

#include "bench/synth/write_model.h"
#include "host/gguf/float16.h"
#include "host/prefill.h"
#include "tests/reference/harness.h"
#include "tests/reference/oracle.h"

namespace {

using vigil::gguf::half_to_float;
using vigil::host::PrefillOptions;
using vigil::reference::Harness;
using vigil::reference::test_device;
using vigil::synth::ModelSpec;

// A synthetic model's file, removed at the end.
class TemporaryModel {
   public:
    explicit TemporaryModel(const ModelSpec& spec)
        : path_(std::filesystem::temp_directory_path() / ("vigil_prefill_" + std::to_string(getpid()) + ".gguf")) {
        vigil::synth::write_model(spec, path_);
    }
    ~TemporaryModel() { std::filesystem::remove(path_); }
    TemporaryModel(const TemporaryModel&) = delete;
    TemporaryModel& operator=(const TemporaryModel&) = delete;
    const std::filesystem::path& path() const { return path_; }

   private:
    std::filesystem::path path_;
};

struct Cache {
    std::vector<std::uint16_t> keys;
    std::vector<std::uint16_t> values;
    bool operator==(const Cache&) const = default;
};

// The arithmetic of our own GEMM and attention: FP32, or FP16 inputs on tensor cores.
enum class Inputs { single, half };

// What the device under test can do; the same steps take the place of both where it has no tensor cores.
std::vector<Inputs> all_inputs() {
    if (test_device().info().is_cuda) return {Inputs::single, Inputs::half};
    return {Inputs::single};
}

PrefillOptions own(Inputs inputs, int chunk) {
    return {.use_cublas = false, .chunk = chunk, .use_tensor_cores = inputs == Inputs::half};
}

// A model on the device under test.
class Subject {
   public:
    explicit Subject(const ModelSpec& spec, int n_blocks = 0)
        : model_(spec),
          file_(vigil::gguf::File::open(model_.path())),
          harness_(file_, test_device(), {.n_blocks = n_blocks}) {
        const auto& c = harness_.config();
        empty_.assign(static_cast<std::size_t>(c.n_layers) * c.n_kv_heads * c.max_seq_len * c.head_dim, kUnwritten);
    }

    Harness& harness() { return harness_; }
    const vigil::gguf::File& file() const { return file_; }
    const vigil::device::ModelConfig& config() const { return harness_.config(); }
    std::unique_ptr<vigil::host::Prefill> make(const PrefillOptions& options) {
        return vigil::host::make_prefill(test_device(), harness_.args(), options);
    }

    // The cache after prefill of `tokens`, by our own GEMM; untouched places hold kUnwritten.
    Cache prefill(std::span<const std::int32_t> tokens, int chunk, Inputs inputs = Inputs::single) {
        clear();
        make(own(inputs, chunk))->run(tokens, 0);
        return cache();
    }
    void clear() { harness_.write_cache(empty_, empty_); }
    Cache cache() const { return {harness_.read_keys(), harness_.read_values()}; }

    // Index of the first value of a position in the cache.
    std::size_t at(int layer, int kv_head, int position) const {
        const auto& c = config();
        return ((static_cast<std::size_t>(layer) * c.n_kv_heads + kv_head) * c.max_seq_len + position) * c.head_dim;
    }

    static constexpr std::uint16_t kUnwritten = 0x7bff;  // the largest finite half: poison for whoever reads it

   private:
    TemporaryModel model_;
    vigil::gguf::File file_;
    Harness harness_;
    std::vector<std::uint16_t> empty_;
};

std::vector<std::int32_t> prompt(int n, int vocab_size = 512) {
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < n; ++i) tokens.push_back((i * 7919 + i * i * 31 + 5) % vocab_size);
    return tokens;
}

// Difference of two series, relative to the second's root mean square.
struct Difference {
    double squares = 0.0;
    double reference_squares = 0.0;
    double largest = 0.0;
    void add(double value, double reference) {
        squares += (value - reference) * (value - reference);
        reference_squares += reference * reference;
        if (!(std::abs(value - reference) <= largest)) largest = std::abs(value - reference);
    }
    double rms() const { return std::sqrt(squares / reference_squares); }
    // `n` values were added.
    double worst(std::size_t n) const { return largest / std::sqrt(reference_squares / static_cast<double>(n)); }
};

// Half a unit in the last place of an FP16 value four times the RMS, both sides rounded, is 2e-3.
constexpr double kWorstTolerance = 4e-3;
constexpr double kRmsTolerance = 5e-4;
// Each input of a product rounded to FP16's eleven bits adds up to this over a few layers.
constexpr double kHalfInputsRmsTolerance = 2e-3;
constexpr double kHalfInputsWorstTolerance = 2e-2;

void check_same(const Subject& s, const Cache& got, int n,
                const std::function<double(bool is_key, int layer, int kv_head, int position, int column)>& expected,
                Inputs inputs = Inputs::single) {
    const auto& c = s.config();
    for (int layer = 0; layer < c.n_layers; ++layer)
        for (const bool is_key : {true, false}) {
            Difference difference;
            for (int head = 0; head < c.n_kv_heads; ++head)
                for (int position = 0; position < n; ++position)
                    for (int i = 0; i < c.head_dim; ++i) {
                        const auto& values = is_key ? got.keys : got.values;
                        difference.add(static_cast<double>(half_to_float(
                                           values[s.at(layer, head, position) + static_cast<std::size_t>(i)])),
                                       expected(is_key, layer, head, position, i));
                    }
            CAPTURE(layer);
            CAPTURE(is_key);
            const bool halves = inputs == Inputs::half;
            CHECK(difference.rms() < (halves ? kHalfInputsRmsTolerance : kRmsTolerance));
            CHECK(difference.worst(static_cast<std::size_t>(c.n_kv_heads) * n * c.head_dim) <
                  (halves ? kHalfInputsWorstTolerance : kWorstTolerance));
        }
}

void check_against_oracle(Subject& s, int n, int chunk) {
    vigil::reference::Oracle oracle(s.file(), {.half_kv = true});
    const auto tokens = prompt(n, s.config().vocab_size);
    std::vector<std::vector<vigil::reference::LayerTrace>> traces;
    for (const std::int32_t token : tokens) traces.push_back(oracle.forward(token, false).layers);
    const auto expected = [&](bool is_key, int layer, int head, int position, int i) {
        const auto& trace = traces[static_cast<std::size_t>(position)][static_cast<std::size_t>(layer)];
        return (is_key ? trace.k : trace.v)[static_cast<std::size_t>(head * s.config().head_dim + i)];
    };
    for (const Inputs inputs : all_inputs()) {
        CAPTURE(inputs == Inputs::half);
        check_same(s, s.prefill(tokens, chunk, inputs), n, expected, inputs);
    }
}

ModelSpec spec_of(const std::string& architecture, std::uint32_t head_dim, std::uint32_t n_heads,
                  std::uint32_t n_kv_heads, const std::string& type = "F16") {
    ModelSpec spec;
    spec.architecture = architecture;
    spec.head_dim = head_dim;
    spec.n_heads = n_heads;
    spec.n_kv_heads = n_kv_heads;
    spec.n_layers = 3;
    spec.type = type;
    return spec;
}

}  // namespace

TEST_CASE("keys and values agree with the oracle for every architecture") {
    for (const std::string architecture : {"llama", "qwen2", "qwen3"}) {
        CAPTURE(architecture);
        Subject s(spec_of(architecture, 64, 4, 2));
        check_against_oracle(s, 37, 16);
    }
}

TEST_CASE("keys and values agree with the oracle for every head size and grouping") {
    struct Shape {
        std::uint32_t head_dim, n_heads, n_kv_heads;
    };
    for (const auto& [head_dim, n_heads, n_kv_heads] :
         {Shape{80, 4, 4}, Shape{96, 6, 2}, Shape{128, 8, 1}, Shape{256, 2, 1}, Shape{64, 9, 3}}) {
        CAPTURE(head_dim);
        CAPTURE(n_heads);
        Subject s(spec_of("llama", head_dim, n_heads, n_kv_heads));
        check_against_oracle(s, 75, 40);
    }
}

TEST_CASE("keys and values agree with the oracle over several tiles of keys") {
    Subject s(spec_of("qwen3", 64, 4, 1));
    check_against_oracle(s, 200, 512);
}

TEST_CASE("keys and values agree with the oracle for BF16 and quantised files") {
    for (const std::string type : {"F32", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K",
                                   "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4", "Q4_K_M", "Q5_K_M"}) {
        CAPTURE(type);
        Subject s(spec_of("llama", 64, 4, 2, type));
        check_against_oracle(s, 20, 16);
    }
}

TEST_CASE("angles are right far from the beginning") {
    ModelSpec spec = spec_of("qwen2", 64, 2, 2);
    spec.n_layers = 1;
    const TemporaryModel model(spec);
    const auto file = vigil::gguf::File::open(model.path());
    Harness harness(file, test_device(), {.max_seq_len = 4096});
    const auto tokens = prompt(4001);
    vigil::host::make_prefill(test_device(), harness.args(), own(Inputs::single, 512))->run(tokens, 0);
    vigil::reference::Oracle oracle(file, {.half_kv = true});
    // One layer's keys depend on nothing before them but the position.
    const auto& c = harness.config();
    const std::vector<std::uint16_t> none(static_cast<std::size_t>(c.n_kv_heads) * 4000 * c.head_dim);
    oracle.set_cache(none, none, 4000, 4000);
    const auto& k = oracle.forward(tokens[4000], false).layers[0].k;
    const auto keys = harness.read_keys();
    Difference difference;
    for (int head = 0; head < c.n_kv_heads; ++head)
        for (int i = 0; i < c.head_dim; ++i) {
            const std::size_t at = (static_cast<std::size_t>(head) * c.max_seq_len + 4000) * c.head_dim;
            difference.add(static_cast<double>(half_to_float(keys[at + static_cast<std::size_t>(i)])),
                           k[static_cast<std::size_t>(head * c.head_dim + i)]);
        }
    CHECK(difference.rms() < kRmsTolerance);
}

namespace {

void check_chunks(Inputs inputs) {
    constexpr int kChunk = 16;
    Subject s(spec_of("llama", 64, 4, 2));
    const auto longest = prompt(3 * kChunk + 5);
    const Cache whole = s.prefill(longest, 512, inputs);
    for (const int n : {1, 2, kChunk - 1, kChunk, kChunk + 1, 3 * kChunk + 5}) {
        CAPTURE(n);
        const Cache cut = s.prefill(std::span(longest).first(static_cast<std::size_t>(n)), kChunk, inputs);
        const auto& c = s.config();
        for (int layer = 0; layer < c.n_layers; ++layer)
            for (int head = 0; head < c.n_kv_heads; ++head) {
                const std::size_t begin = s.at(layer, head, 0);
                const std::size_t end = s.at(layer, head, n);
                const auto same = [&](const auto& a, const auto& b) {
                    return std::equal(a.begin() + begin, a.begin() + end, b.begin() + begin);
                };
                CHECK(same(cut.keys, whole.keys));
                CHECK(same(cut.values, whole.values));
                // Nothing behind the prompt is touched.
                for (std::size_t i = end; i < s.at(layer, head, c.max_seq_len); ++i) {
                    if (cut.keys[i] == Subject::kUnwritten && cut.values[i] == Subject::kUnwritten) continue;
                    FAIL_CHECK("written behind the prompt at " << i);
                    break;
                }
            }
    }
}

}  // namespace

TEST_CASE("a prompt of any length gives the same bits however it is cut into chunks") {
    for (const Inputs inputs : all_inputs()) {
        CAPTURE(inputs == Inputs::half);
        check_chunks(inputs);
    }
}

TEST_CASE("a prompt continued at a later position gives the bits of one in one go") {
    Subject s(spec_of("qwen3", 64, 4, 2));
    const auto tokens = prompt(90);
    for (const Inputs inputs : all_inputs()) {
        CAPTURE(inputs == Inputs::half);
        const Cache whole = s.prefill(tokens, 512, inputs);
        for (const int first : {1, 20, 64, 89}) {
            CAPTURE(first);
            s.clear();
            const auto prefill = s.make(own(inputs, 32));
            prefill->run(std::span(tokens).first(static_cast<std::size_t>(first)), 0);
            prefill->run(std::span(tokens).subspan(static_cast<std::size_t>(first)), first);
            CHECK(s.cache() == whole);
        }
    }
}

TEST_CASE("a long prompt has the same bits in large and in small tiles of queries") {
    // 2,000 tokens fill a GPU with the large ones, pieces of 64 do not.
    ModelSpec spec = spec_of("llama", 128, 16, 4);
    const TemporaryModel model(spec);
    const auto file = vigil::gguf::File::open(model.path());
    Harness harness(file, test_device(), {.max_seq_len = 2048});
    if (!test_device().info().is_cuda) {
        MESSAGE("tiles of two sizes are a matter of GPUs");
        return;
    }
    const auto tokens = prompt(2000);
    std::vector<Cache> caches;
    for (const int chunk : {2048, 64}) {
        vigil::host::make_prefill(test_device(), harness.args(), own(Inputs::half, chunk))->run(tokens, 0);
        caches.push_back({harness.read_keys(), harness.read_values()});
    }
    CHECK(caches[0] == caches[1]);
}

TEST_CASE("the bits do not depend on the number of blocks") {
    const ModelSpec spec = spec_of("llama", 64, 9, 3);
    const auto tokens = prompt(50);
    Subject one(spec, 1);
    const Cache expected = one.prefill(tokens, 32);
    for (const int n_blocks : {2, 3, 5}) {
        Subject several(spec, n_blocks);
        CHECK(several.prefill(tokens, 32) == expected);
    }
}

TEST_CASE("keys and values agree with those that decode makes token by token") {
    for (const std::string architecture : {"llama", "qwen2", "qwen3"}) {
        CAPTURE(architecture);
        Subject s(spec_of(architecture, 64, 4, 2));
        const auto tokens = prompt(40);
        const Cache prefilled = s.prefill(tokens, 16);
        s.clear();
        s.harness().run(s.harness().make_job(tokens, 0, 1), tokens, vigil::host::Dispatch::launch);
        const Cache decoded = s.cache();
        check_same(s, prefilled, 40, [&](bool is_key, int layer, int head, int position, int i) {
            const auto& values = is_key ? decoded.keys : decoded.values;
            return static_cast<double>(
                half_to_float(values[s.at(layer, head, position) + static_cast<std::size_t>(i)]));
        });
    }
}

TEST_CASE("decode goes on from a prefilled prompt as if it had read it itself") {
    Subject s(spec_of("llama", 64, 4, 2));
    const auto tokens = prompt(40);
    const auto ids = [&](const std::vector<vigil::ring::TokenEvent>& events) {
        std::vector<std::int32_t> result;
        for (const auto& e : events)
            if (e.kind == vigil::ring::EventKind::kToken) result.push_back(e.token);
        return result;
    };
    Harness& h = s.harness();
    const auto alone = ids(h.run(h.make_job(tokens, 0, 8), tokens, vigil::host::Dispatch::launch));
    s.prefill(std::span(tokens).first(39), 16);
    CHECK(ids(h.run(h.make_job(tokens, 39, 8), tokens, vigil::host::Dispatch::launch)) == alone);
}

// On the CPU, and on a GPU without the library, this is the path without cuBLAS.
TEST_CASE("prefill with whatever GEMM there is agrees with our own") {
    Subject s(spec_of("llama", 64, 4, 2));
    const auto tokens = prompt(70);
    const Cache own = s.prefill(tokens, 32);
    s.clear();
    const auto prefill = s.make({.use_cublas = true, .chunk = 32});
    MESSAGE("GEMM: " << std::string(prefill->gemm_name()));
    prefill->run(tokens, 0);
    const Cache other = s.cache();
    const auto& c = s.config();
    Difference difference;
    for (int layer = 0; layer < c.n_layers; ++layer)
        for (int head = 0; head < c.n_kv_heads; ++head)
            for (std::size_t i = s.at(layer, head, 0); i < s.at(layer, head, 70); ++i)
                difference.add(static_cast<double>(half_to_float(other.keys[i])),
                               static_cast<double>(half_to_float(own.keys[i])));
    CHECK(difference.rms() < 2e-3);  // cuBLAS takes activations rounded to FP16
}

TEST_CASE("an empty prompt leaves the cache alone") {
    Subject s(spec_of("llama", 64, 4, 2));
    const Cache cache = s.prefill({}, 16);
    CHECK(std::ranges::all_of(cache.keys, [](std::uint16_t v) { return v == Subject::kUnwritten; }));
}

TEST_CASE("prompts that cannot be are refused with their numbers") {
    Subject s(spec_of("llama", 64, 4, 2));
    const auto prefill = s.make({.use_cublas = false});
    const auto message = [&](std::span<const std::int32_t> tokens, int first) {
        try {
            prefill->run(tokens, first);
        } catch (const vigil::host::DeviceError& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    CHECK(message(prompt(257), 0) == "257 tokens from position 0 do not fit into the KV cache of 256 positions");
    CHECK(message(prompt(2), 255) == "2 tokens from position 255 do not fit into the KV cache of 256 positions");
    CHECK(message(prompt(1), -1) == "1 tokens from position -1 do not fit into the KV cache of 256 positions");
    CHECK(message(std::vector<std::int32_t>{3, 512}, 0) == "prompt token 1 is 512; the vocabulary has 512");
    CHECK(message(std::vector<std::int32_t>{-1}, 0) == "prompt token 0 is -1; the vocabulary has 512");
    CHECK_THROWS_AS(s.make({.chunk = 0}), vigil::host::DeviceError);
}
