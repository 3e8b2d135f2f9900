// Rotary position embedding: from the GGUF keys to one frequency per pair of dimensions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "host/gguf/gguf.h"

namespace vigil::host {

// How positions beyond the trained context are squeezed into it. Keys: <arch>.rope.*; names as in GGUF.
struct RopeParameters {
    enum class Scaling { none, linear, yarn };

    Scaling scaling = Scaling::none;
    std::int32_t rotary_dim = 0;
    double freq_base = 10000.0;
    double factor = 1.0;  // context is this many times longer than trained
    double original_context = 0.0;
    double attn_factor = 1.0;
    double yarn_ext_factor = 1.0;
    double yarn_beta_fast = 32.0;  // turns within the original context above which a pair is not scaled at all
    double yarn_beta_slow = 1.0;   // and below which it is scaled in full
    double yarn_log_multiplier = 0.0;
};

// Throws gguf::Error naming the key for an unknown scaling type or a number out of range.
RopeParameters read_rope_parameters(const gguf::File& file, const std::string& architecture, std::int32_t rotary_dim,
                                    std::int32_t context_length);

// [rotary_dim / 2] radians per position, freq_base^(-2i / rotary_dim), scaled. `freq_factors` divides them (Llama 3's
// rope_freqs.weight) and is empty or as long.
// The formulas are ggml's rope_yarn, after Peng et al., "YaRN", arXiv 2309.00071.
std::vector<double> rope_frequencies(const RopeParameters& rope, const std::vector<float>& freq_factors);

// What cos and sin are multiplied with.
double rope_magnitude(const RopeParameters& rope);

// Radians per position as turns in 0.64 fixed point.
std::uint64_t turns_from_radians(double radians);

}  // namespace vigil::host
