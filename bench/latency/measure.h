// The measurements of decode_latency: the time of a token, and the way of a job through the ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/latency/rig.h"

namespace vigil::bench {

struct Percentiles {
    double p50 = 0;
    double p90 = 0;
    double p99 = 0;
    double max = 0;
};

// Whole tokens, generated one after the other from position `depth` on. Times by the device's clock, from event to
// event.
struct TokenFigures {
    host::Dispatch dispatch{};
    std::int32_t depth = 0;
    std::int32_t n_tokens = 0;  // timed
    Percentiles ms;
    double mean_ms = 0;
    std::int32_t launches_per_token = 0;
    std::size_t bytes_per_token = 0;  // weights, and keys and values at the middle of the run
    double gigabytes_per_second = 0;  // bytes_per_token in the median time
    std::vector<std::int32_t> tokens;
};

// Jobs on an empty cache, each submitted a random moment after the one before had ended. Times by the host's clock.
struct SubmitFigures {
    host::Dispatch dispatch{};
    std::int32_t n_jobs = 0;
    Percentiles first_token_us;  // job written into the ring → first token seen, for a one-token prompt
    Percentiles round_trip_us;   // job written into the ring → finished seen, for a job without tokens
    double token_ms = 0;  // median of whole tokens at the same depth: the part of first_token_us that is the model
};

// A word for each dispatch, as `--dispatch` takes it.
const char* name_of(host::Dispatch dispatch);

// The rig is started under `dispatch`; stops it at the end. n_tokens is at least 2; the tokens must fit into the
// context.
TokenFigures measure_tokens(Rig& rig, host::Dispatch dispatch, std::int32_t depth, std::int32_t n_tokens,
                            const ring::SamplingParams& sampling);
SubmitFigures measure_submit(Rig& rig, host::Dispatch dispatch, std::int32_t n_jobs);

// Tokens that measure_tokens generates beside the timed ones.
inline constexpr std::int32_t kWarmupTokens = 64;

// Bytes that one token reads: every matrix once, one row of the embedding, keys and values of `n_positions`.
std::size_t bytes_per_token(const device::KernelArgs& args, std::int32_t n_positions);

}  // namespace vigil::bench
