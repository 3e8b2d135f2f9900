#include "bench/latency/measure.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "device/launch.h"
#include "runtime/statistics.h"

namespace vigil::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kNanosecondsPerMillisecond = 1e6;
constexpr int kWarmupJobs = 50;
constexpr std::int32_t kTokensAtDepthZero = 33;
// Longer than any kernel polls without rest, so that some jobs find it napping, as jobs in life do.
constexpr int kMostGapUs = 400;

Percentiles percentiles(std::span<const double> values) {
    return {percentile(values, 50), percentile(values, 90), percentile(values, 99), percentile(values, 100)};
}

double microseconds(std::chrono::nanoseconds time) {
    return static_cast<double>(time.count()) / 1e3;
}

std::vector<double> intervals_ms(std::span<const std::uint64_t> times) {
    std::vector<double> intervals;
    for (std::size_t i = 1; i < times.size(); ++i)
        intervals.push_back(static_cast<double>((times[i] - times[i - 1]) & ring::kTimeMask) /
                            kNanosecondsPerMillisecond);
    return intervals;
}

std::int32_t launches_per_token(const device::ModelConfig& config, host::Dispatch dispatch) {
    switch (dispatch) {
        case host::Dispatch::persistent:
            return 0;
        case host::Dispatch::graph:
            return 1;
        case host::Dispatch::launch:
            break;
    }
    return device::n_steps(config);
}

std::size_t bytes_of(const device::Tensor& t) {
    return device::bytes_per_weight(t.format) * static_cast<std::size_t>(t.rows) * static_cast<std::size_t>(t.cols);
}

// Host time of jobs of `n_tokens` tokens, at random distances.
Percentiles time_jobs(Rig& rig, std::int32_t n_tokens, std::int32_t n_jobs) {
    std::mt19937 random(3);
    std::uniform_int_distribution<int> gap_us(0, kMostGapUs);
    const JobSpec spec{.n_cached = 0, .max_new_tokens = n_tokens, .sampling = {.temperature = 0.0f}};
    std::vector<double> times;
    for (std::int32_t i = -kWarmupJobs; i < n_jobs; ++i) {
        const auto until = Clock::now() + std::chrono::microseconds(gap_us(random));
        while (Clock::now() < until) continue;
        const JobTrace trace = rig.run(spec);
        if (i >= 0) times.push_back(microseconds(trace.first_event));
    }
    return percentiles(times);
}

}  // namespace

const char* name_of(host::Dispatch dispatch) {
    switch (dispatch) {
        case host::Dispatch::persistent:
            return "persistent";
        case host::Dispatch::graph:
            return "graph";
        case host::Dispatch::launch:
            break;
    }
    return "launch";
}

std::size_t bytes_per_token(const device::KernelArgs& args, std::int32_t n_positions) {
    const device::ModelConfig& c = args.config;
    const device::ModelWeights& w = args.weights;
    // All layers have the same shapes, and the layers' array is device memory: the shapes come from the configuration.
    const auto dim = static_cast<std::size_t>(c.dim);
    const auto head_rows = static_cast<std::size_t>(c.head_dim) * static_cast<std::size_t>(c.n_heads);
    const auto kv_rows = static_cast<std::size_t>(c.head_dim) * static_cast<std::size_t>(c.n_kv_heads);
    const std::size_t layer_weights = dim * (2 * head_rows + 2 * kv_rows + 3 * static_cast<std::size_t>(c.ffn_dim));
    const std::size_t kv_bytes = 2 * sizeof(std::uint16_t) * kv_rows * static_cast<std::size_t>(n_positions);
    return bytes_of(w.output) + device::bytes_per_weight(w.token_embedding.format) * dim +
           static_cast<std::size_t>(c.n_layers) * (sizeof(std::uint16_t) * layer_weights + kv_bytes);
}

TokenFigures measure_tokens(Rig& rig, host::Dispatch dispatch, std::int32_t depth, std::int32_t n_tokens,
                            const ring::SamplingParams& sampling) {
    rig.start(dispatch);
    rig.run({.n_cached = depth, .max_new_tokens = kWarmupTokens, .sampling = sampling});
    // One token more than intervals.
    const JobTrace trace = rig.run({.n_cached = depth, .max_new_tokens = n_tokens + 1, .sampling = sampling});
    rig.stop();

    TokenFigures figures;
    figures.dispatch = dispatch;
    figures.depth = depth;
    const std::vector<double> ms = intervals_ms(trace.token_times);
    figures.n_tokens = static_cast<std::int32_t>(ms.size());
    figures.ms = percentiles(ms);
    figures.mean_ms =
        std::accumulate(ms.begin(), ms.end(), 0.0) / static_cast<double>(std::max<std::size_t>(1, ms.size()));
    figures.launches_per_token = launches_per_token(rig.args().config, dispatch);
    figures.bytes_per_token = bytes_per_token(rig.args(), depth + 1 + n_tokens / 2);
    if (figures.ms.p50 > 0)
        figures.gigabytes_per_second =
            static_cast<double>(figures.bytes_per_token) / (figures.ms.p50 * kNanosecondsPerMillisecond);
    figures.tokens = trace.tokens;
    return figures;
}

SubmitFigures measure_submit(Rig& rig, host::Dispatch dispatch, std::int32_t n_jobs) {
    SubmitFigures figures;
    figures.dispatch = dispatch;
    figures.n_jobs = n_jobs;
    rig.start(dispatch);
    figures.first_token_us = time_jobs(rig, 1, n_jobs);
    figures.round_trip_us = time_jobs(rig, 0, n_jobs);
    const std::int32_t n_tokens = std::min(kTokensAtDepthZero, rig.args().config.max_seq_len - 1);
    const JobTrace trace = rig.run({.n_cached = 0, .max_new_tokens = n_tokens, .sampling = {.temperature = 0.0f}});
    figures.token_ms = percentile(intervals_ms(trace.token_times), 50);
    rig.stop();
    return figures;
}

}  // namespace vigil::bench
