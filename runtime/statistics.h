// What a request and an engine took, and percentiles over token times.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace vigil {

struct RequestStatistics {
    std::int32_t prompt_tokens = 0;     // = the three that follow, once the job is in the kernel's hands
    std::int32_t reused_tokens = 0;     // found in the KV cache
    std::int32_t prefilled_tokens = 0;  // by launches, with the kernel parked
    std::int32_t fed_tokens = 0;        // one by one, inside the kernel
    std::int32_t generated_tokens = 0;
    double prefill_ms = 0;              // the prompt, prefilled or fed inside the kernel
    double time_to_first_token_ms = 0;  // from submit to the first token at the host
    double total_ms = 0;                // from submit to the end
    std::vector<double> token_ms;       // device time between neighbouring tokens

    double tokens_per_second() const;  // of the tokens after the first
};

struct EngineStatistics {
    std::uint64_t requests = 0;
    std::uint64_t tokens = 0;    // fed by the kernel
    std::uint64_t launches = 0;  // of the resident kernel
    std::uint64_t prefills = 0;
    std::uint64_t waiting = 0;  // requests submitted that the engine has not begun with
};

// The p-th percentile, p in [0, 100], by linear interpolation between the order statistics; 0 for no values.
double percentile(std::span<const double> values, double p);

}  // namespace vigil
