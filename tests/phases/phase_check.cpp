#include "tests/phases/phase_check.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <limits>
#include <random>
#include <sstream>

#include "device/launch.h"
#include "device/sm90/replicas.h"
#include "host/gguf/float16.h"
#include "tests/reference/oracle.h"

namespace vigil::phases {
namespace {

using reference::Harness;
using reference::Oracle;
using reference::TokenTrace;

constexpr std::uint16_t kHalfNan = 0x7e00;

struct Cache {
    std::vector<std::uint16_t> keys, values;
};

// Random keys and values for the first `context` positions of [n_layers][n_kv_heads][max_seq_len][head_dim]. The rest
// is NaN: whoever reads past the end gives himself away.
Cache random_cache(const device::ModelConfig& c, const CheckOptions& options) {
    std::mt19937_64 random(options.seed);
    std::normal_distribution<float> normal;
    const std::size_t rows = static_cast<std::size_t>(c.n_layers) * c.n_kv_heads;
    const std::size_t row = static_cast<std::size_t>(c.max_seq_len) * c.head_dim;
    const std::size_t filled = static_cast<std::size_t>(options.context) * c.head_dim;
    Cache cache{std::vector<std::uint16_t>(rows * row, kHalfNan), std::vector<std::uint16_t>(rows * row, kHalfNan)};
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t i = 0; i < filled; ++i) {
            cache.keys[r * row + i] = gguf::float_to_half(normal(random) * options.key_spread);
            cache.values[r * row + i] = gguf::float_to_half(normal(random));
        }
    }
    return cache;
}

double cosine(std::span<const float> a, std::span<const double> b) {
    double ab = 0.0;
    double aa = 0.0;
    double bb = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        ab += static_cast<double>(a[i]) * b[i];
        aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
        bb += b[i] * b[i];
    }
    return ab / std::sqrt(aa * bb);
}

// What a device's position of the cache holds for one layer, [n_kv_heads * head_dim].
std::vector<float> cached_row(const Harness& harness, const std::vector<std::uint16_t>& cache, int layer,
                              int position) {
    const auto& c = harness.config();
    std::vector<float> row;
    for (int h = 0; h < c.n_kv_heads; ++h) {
        const std::size_t at =
            ((static_cast<std::size_t>(layer) * c.n_kv_heads + h) * c.max_seq_len + position) * c.head_dim;
        for (int i = 0; i < c.head_dim; ++i) row.push_back(gguf::half_to_float(cache[at + i]));
    }
    return row;
}

class TokenCheck {
   public:
    TokenCheck(const Harness& harness, const TokenTrace& trace, Deviations& worst)
        : harness_(harness), trace_(trace), worst_(worst) {}

    void after(device::Step step) {
        const auto& act = harness_.args().act;
        const auto& layer = trace_.layers[static_cast<std::size_t>(std::max(step.layer, 0))];
        switch (step.phase) {
            case ring::Phase::kEmbed:
                compare_both("embed", act.residual, trace_.embedding);
                break;
            case ring::Phase::kQkv:
                compare_both("qkv", act.qkv, layer.qkv);
                break;
            case ring::Phase::kCombine:
                compare_both("attention", act.heads, layer.heads);
                break;
            case ring::Phase::kOutputProj:
                compare_both("output_proj", act.residual, layer.after_attention);
                break;
            case ring::Phase::kGateUp:
                compare_both("gate_up", act.hidden, layer.hidden);
                break;
            case ring::Phase::kDown: {
                const auto residual = compare_both("down", act.residual, layer.after_ffn);
                worst_.least_cosine = std::min(worst_.least_cosine, cosine(residual, layer.after_ffn));
                break;
            }
            case ring::Phase::kLogits:
                compare("logits", act.logits, trace_.logits);
                break;
            default:
                break;
        }
    }

    // K and V as they were appended in all layers.
    void appended(int position) {
        const auto keys = harness_.read_keys();
        const auto values = harness_.read_values();
        for (int l = 0; l < harness_.config().n_layers; ++l) {
            const auto& layer = trace_.layers[static_cast<std::size_t>(l)];
            note("keys", deviation(cached_row(harness_, keys, l, position), layer.k));
            note("values", deviation(cached_row(harness_, values, l, position), layer.v));
        }
    }

   private:
    // Of a published vector that has a replica, that, too, which must be the same.
    std::vector<float> compare_both(const std::string& phase, const float* buffer, const reference::Vector& want) {
        auto got = compare(phase, buffer, want);
        if (harness_.args().plan.stream.n_stages != 0 &&
            harness_.read(buffer + device::sm90::kReplicaFloats, static_cast<int>(want.size())) != got)
            note(phase, std::numeric_limits<double>::infinity());
        return got;
    }
    std::vector<float> compare(const std::string& phase, const float* buffer, const reference::Vector& want) {
        auto got = harness_.read(buffer, static_cast<int>(want.size()));
        note(phase, deviation(got, want));
        return got;
    }
    void note(const std::string& phase, double value) {
        double& worst = worst_.by_phase[phase];
        worst = std::max(worst, value);
    }

    const Harness& harness_;
    const TokenTrace& trace_;
    Deviations& worst_;
};

}  // namespace

double deviation(std::span<const float> got, std::span<const double> want) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (got.size() != want.size()) return infinity;
    double difference = 0.0;
    double magnitude = 0.0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        if (!std::isfinite(got[i])) return infinity;
        difference = std::max(difference, std::abs(static_cast<double>(got[i]) - want[i]));
        magnitude = std::max(magnitude, std::abs(want[i]));
    }
    return difference / magnitude;
}

void Deviations::merge(const Deviations& other) {
    for (const auto& [phase, value] : other.by_phase) {
        double& worst = by_phase[phase];
        worst = std::max(worst, value);
    }
    two_tokens = std::max(two_tokens, other.two_tokens);
    least_cosine = std::min(least_cosine, other.least_cosine);
}

Deviations compare_two_tokens(const gguf::File& file, const CheckOptions& options) {
    Harness harness(file, reference::test_device(),
                    {.max_seq_len = options.context + 8, .n_blocks = options.n_blocks, .event_capacity = 16});
    const auto& config = harness.config();
    Oracle oracle(file, {.half_kv = true});
    const Cache cache = random_cache(config, options);
    oracle.set_cache(cache.keys, cache.values, config.max_seq_len, options.context);
    harness.write_cache(cache.keys, cache.values);

    std::mt19937_64 random(options.seed + 1);
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(options.context) + 3);
    for (auto& token : tokens)
        token = static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(config.vocab_size));
    auto job = harness.make_job(tokens, options.context, 0);
    job.flags = ring::kJobScore;  // logits for the first token too
    harness.submit(job, tokens);

    Deviations worst;
    for (int position = options.context; position < options.context + 2; ++position) {
        const TokenTrace& trace = oracle.forward(tokens[static_cast<std::size_t>(position)]);
        TokenCheck check(harness, trace, worst);
        for (int step = 0; step < device::n_steps(config); ++step) {
            harness.run_step(step);
            check.after(device::step_at(config, step));
        }
        check.appended(position);
        worst.two_tokens = deviation(harness.read(harness.args().act.logits, config.vocab_size), trace.logits);
    }
    return worst;
}

void check_limits(const Deviations& d) {
    REQUIRE(d.by_phase.size() == 9);
    for (const auto& [phase, value] : d.by_phase) {
        CAPTURE(phase);
        CHECK(value <= 1e-3);
    }
    CHECK(d.two_tokens <= 5e-3);
    CHECK(d.least_cosine >= 0.9999);
}

void report(const std::string& title, const Deviations& d) {
    std::ostringstream line;
    line << title << ": largest deviation";
    for (const auto& [phase, value] : d.by_phase) line << ", " << phase << " " << value;
    line << "; two tokens " << d.two_tokens << "; 1 - cosine " << 1.0 - d.least_cosine;
    MESSAGE(line.str());
}

}  // namespace vigil::phases
