#include "runtime/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>

#include "device/launch.h"
#include "runtime/statistics.h"

namespace vigil::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kNanosecondsPerMillisecond = 1e6;
constexpr double kMillisecondsPerSecond = 1e3;
constexpr int kWarmupJobs = 50;
constexpr std::int32_t kTokensAtDepthZero = 33;
static_assert(kTokensAtDepthZero + 2 <= kPositionsToSubmit);
// Longer than any kernel polls without rest, so that some jobs find it napping, as jobs in life do.
constexpr int kMostGapUs = 400;

double milliseconds(std::chrono::nanoseconds time) {
    return static_cast<double>(time.count()) / kNanosecondsPerMillisecond;
}

std::vector<double> intervals_ms(std::span<const std::uint64_t> times) {
    std::vector<double> intervals;
    for (std::size_t i = 1; i < times.size(); ++i)
        intervals.push_back(static_cast<double>((times[i] - times[i - 1]) & ring::kTimeMask) /
                            kNanosecondsPerMillisecond);
    return intervals;
}

double mean(std::span<const double> values) {
    return values.empty() ? 0.0
                          : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double rate(double count, double ms) {
    return ms > 0 ? kMillisecondsPerSecond * count / ms : 0.0;
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

// Host time of jobs of `n_tokens` tokens, at random distances.
Percentiles time_jobs(Rig& rig, std::int32_t n_tokens, std::int32_t n_jobs, JobParts& parts) {
    std::mt19937 random(3);
    std::uniform_int_distribution<int> gap_us(0, kMostGapUs);
    const JobSpec spec{.max_new_tokens = n_tokens, .sampling = {.temperature = 0.0f}};
    const auto us = [](std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e3; };
    std::vector<double> times;
    std::vector<double> write;
    std::vector<double> ring;
    std::vector<double> device;
    for (std::int32_t i = -kWarmupJobs; i < n_jobs; ++i) {
        const auto until = Clock::now() + std::chrono::microseconds(gap_us(random));
        while (Clock::now() < until) continue;
        const JobTimes job = rig.run(spec);
        if (i < 0) continue;
        times.push_back(us(job.first_event));
        write.push_back(us(job.written));
        device.push_back(us(job.on_device));
        ring.push_back(us(job.first_event - job.written - job.on_device));
    }
    parts = {percentiles(write), percentiles(ring), percentiles(device)};
    return percentiles(times);
}

}  // namespace

Percentiles percentiles(std::span<const double> values) {
    return {percentile(values, 50), percentile(values, 90), percentile(values, 99), percentile(values, 99.9),
            percentile(values, 100)};
}

MeanAndDeviation mean_and_deviation(std::span<const double> values) {
    MeanAndDeviation result{.mean = mean(values)};
    if (values.size() < 2) return result;
    double squares = 0;
    for (const double v : values) squares += (v - result.mean) * (v - result.mean);
    result.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
    return result;
}

std::int64_t positions_needed(const TokenTest& test) {
    // One token more than intervals, and one that is fed before the first is generated.
    return std::int64_t{test.depth} + std::max(test.n_tokens, test.n_warmup) + 2;
}

std::int64_t positions_needed(const PromptTest& test) {
    return std::int64_t{test.depth} + test.n_prompt + 1;
}

std::size_t bytes_per_token(const host::Model& model, std::int32_t n_positions) {
    const device::ModelConfig& c = model.config();
    const device::Tensor& embedding = model.weights().token_embedding;
    std::size_t weights = model.weight_bytes();
    if (embedding.data != model.weights().output.data) {
        const std::int32_t row = device::row_bytes(embedding.format, embedding.cols);
        weights -= device::matrix_bytes(embedding) - static_cast<std::size_t>(row);
    }
    const std::size_t kv_row =
        sizeof(std::uint16_t) * static_cast<std::size_t>(c.n_kv_heads) * static_cast<std::size_t>(c.head_dim);
    return weights + 2 * kv_row * static_cast<std::size_t>(c.n_layers) * static_cast<std::size_t>(n_positions);
}

TokenFigures measure_tokens(Rig& rig, host::Dispatch dispatch, const TokenTest& test) {
    rig.start(dispatch);
    if (test.n_warmup > 0)
        rig.run({.n_cached = test.depth, .max_new_tokens = test.n_warmup, .sampling = test.sampling});
    TokenFigures figures;
    std::vector<double> all_ms;
    std::vector<double> rates;
    for (std::int32_t i = 0; i < test.repetitions; ++i) {
        const JobTimes job =
            rig.run({.n_cached = test.depth, .max_new_tokens = test.n_tokens + 1, .sampling = test.sampling});
        const std::vector<double> ms = intervals_ms(job.token_times);
        rates.push_back(rate(1, mean(ms)));
        all_ms.insert(all_ms.end(), ms.begin(), ms.end());
        if (i == 0) figures.tokens = job.tokens;
        figures.repeats = figures.repeats && job.tokens == figures.tokens;
    }
    rig.stop();

    figures.dispatch = dispatch;
    figures.depth = test.depth;
    figures.n_tokens = test.n_tokens;
    figures.repetitions = test.repetitions;
    figures.ms = percentiles(all_ms);
    figures.mean_ms = mean(all_ms);
    figures.tokens_per_second = mean_and_deviation(rates);
    figures.launches_per_token = launches_per_token(rig.args().config, dispatch);
    figures.bytes_per_token = bytes_per_token(rig.model(), test.depth + 1 + test.n_tokens / 2);
    if (figures.ms.p50 > 0)
        figures.gigabytes_per_second =
            static_cast<double>(figures.bytes_per_token) / (figures.ms.p50 * kNanosecondsPerMillisecond);
    return figures;
}

PromptFigures measure_prompt(Rig& rig, host::Dispatch dispatch, const PromptTest& test) {
    const JobSpec spec{.n_cached = test.depth, .n_prompt = test.n_prompt, .sampling = test.sampling};
    rig.start(dispatch);
    rig.run(spec);
    std::vector<double> prefill_ms;
    std::vector<double> first_token_ms;
    std::vector<double> rates;
    for (std::int32_t i = 0; i < test.repetitions; ++i) {
        const JobTimes job = rig.run(spec);
        prefill_ms.push_back(milliseconds(job.prefill));
        first_token_ms.push_back(milliseconds(job.first_event));
        rates.push_back(rate(test.n_prompt, first_token_ms.back()));
    }
    rig.stop();
    return {.dispatch = dispatch,
            .depth = test.depth,
            .n_prompt = test.n_prompt,
            .repetitions = test.repetitions,
            .prefill_ms = percentiles(prefill_ms),
            .first_token_ms = percentiles(first_token_ms),
            .tokens_per_second = mean_and_deviation(rates)};
}

SubmitFigures measure_submit(Rig& rig, host::Dispatch dispatch, std::int32_t n_jobs) {
    SubmitFigures figures;
    figures.dispatch = dispatch;
    figures.n_jobs = n_jobs;
    rig.start(dispatch);
    figures.first_token_us = time_jobs(rig, 1, n_jobs, figures.first_token);
    figures.round_trip_us = time_jobs(rig, 0, n_jobs, figures.round_trip);
    const JobTimes job = rig.run({.max_new_tokens = kTokensAtDepthZero, .sampling = {.temperature = 0.0f}});
    figures.token_ms = percentile(intervals_ms(job.token_times), 50);
    rig.stop();
    return figures;
}

}  // namespace vigil::bench
