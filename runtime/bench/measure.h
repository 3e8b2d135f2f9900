// The measurements of `vigil bench`: the time of a token, of a prompt, and of a job's way through the ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/bench/rig.h"

namespace vigil::bench {

struct Percentiles {
    double p50 = 0;
    double p90 = 0;
    double p99 = 0;
    double p999 = 0;
    double max = 0;
};
Percentiles percentiles(std::span<const double> values);

struct MeanAndDeviation {
    double mean = 0;
    double deviation = 0;  // of a sample; 0 for fewer than two values
};
MeanAndDeviation mean_and_deviation(std::span<const double> values);

// Whole tokens, generated one after the other from position `depth` on; every repetition begins there again. Times by
// the device's clock, from event to event.
struct TokenFigures {
    host::Dispatch dispatch{};
    std::int32_t depth = 0;
    std::int32_t n_tokens = 0;  // timed in each repetition
    std::int32_t repetitions = 0;
    Percentiles ms;  // over the tokens of all repetitions
    double mean_ms = 0;
    MeanAndDeviation tokens_per_second;  // over the repetitions
    std::int32_t launches_per_token = 0;
    std::size_t bytes_per_token = 0;  // weights, and keys and values at the middle of the run
    double gigabytes_per_second = 0;  // bytes_per_token in the median time
    std::vector<std::int32_t> tokens;
    bool repeats = true;  // every repetition gave the same tokens
};

// Prompts of `n_prompt` tokens behind `depth` positions that are in the cache. Times by the host's clock; before each,
// the kernel is resident and idle under persistent dispatch. One value per repetition.
struct PromptFigures {
    host::Dispatch dispatch{};
    std::int32_t depth = 0;
    std::int32_t n_prompt = 0;
    std::int32_t repetitions = 0;
    Percentiles prefill_ms;              // the prompt but its last token; 0 for short ones, which the kernel feeds
    Percentiles first_token_ms;          // until the first token's event is seen: the time to first token
    MeanAndDeviation tokens_per_second;  // prompt tokens in the time to first token
};

// A job's way to its first event, in parts that add up to it. The two clocks are not compared: what is neither the
// host's nor the device's part is the way through the rings, there and back.
struct JobParts {
    Percentiles write_us;   // the host puts it into the ring
    Percentiles ring_us;    // until the kernel has taken it, and from the event's write until the host has seen it
    Percentiles device_us;  // from the kernel's taking the job until it writes the event
};

// Jobs on an empty cache, each submitted a random moment after the one before had ended. Times by the host's clock.
struct SubmitFigures {
    host::Dispatch dispatch{};
    std::int32_t n_jobs = 0;
    Percentiles first_token_us;  // job written into the ring → first token seen, for a one-token prompt
    Percentiles round_trip_us;   // job written into the ring → finished seen, for a job without tokens
    JobParts first_token;
    JobParts round_trip;
    double token_ms = 0;  // median of whole tokens at the same depth: the part of first_token_us that is the model
};

struct TokenTest {
    std::int32_t depth = 0;
    std::int32_t n_tokens = 1;
    std::int32_t n_warmup = 64;  // tokens generated before, and not timed
    std::int32_t repetitions = 1;
    ring::SamplingParams sampling;
};

struct PromptTest {
    std::int32_t depth = 0;
    std::int32_t n_prompt = 1;
    std::int32_t repetitions = 1;  // after one that is not timed
    ring::SamplingParams sampling;
};

// The rig is started under `dispatch` and stopped at the end. Throws what Rig::run throws.
TokenFigures measure_tokens(Rig& rig, host::Dispatch dispatch, const TokenTest& test);
PromptFigures measure_prompt(Rig& rig, host::Dispatch dispatch, const PromptTest& test);
SubmitFigures measure_submit(Rig& rig, host::Dispatch dispatch, std::int32_t n_jobs);

// Positions of the KV cache that a test needs.
std::int64_t positions_needed(const TokenTest& test);
std::int64_t positions_needed(const PromptTest& test);
// The same for measure_submit.
inline constexpr std::int32_t kPositionsToSubmit = 64;

// Bytes that one token reads: all weights once, but of an embedding that is not the output matrix one row; keys and
// values of `n_positions`.
std::size_t bytes_per_token(const host::Model& model, std::int32_t n_positions);

}  // namespace vigil::bench
