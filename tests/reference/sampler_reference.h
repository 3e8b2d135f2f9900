// The sampler's exact distribution, in double: penalties, top-k, top-p, min-p, temperature, in llama.cpp's order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ringbuf/messages.h"

namespace vigil::reference {

// The logits after repetition, frequency and presence penalties (Keskar et al., arXiv 1909.05858; OpenAI's API).
// `history`: all tokens so far, prompt included; the last `penalty_last_n` of them count.
std::vector<double> penalised(std::span<const double> logits, const ring::SamplingParams& params,
                              std::span<const std::int32_t> history);

// The probability of every token to be drawn next; sums to 1. With temperature ≤ 0 all of it lies on the highest
// penalised logit, the lowest token id among equals.
std::vector<double> next_token_distribution(std::span<const double> logits, const ring::SamplingParams& params,
                                            std::span<const std::int32_t> history);

// The tokens that truncation keeps of the penalised scores, highest score first. Other than above, all that are equal
// to the last one kept are kept, too, as the device does it. Scores that are not numbers are never kept.
std::vector<std::int32_t> kept_tokens(std::span<const float> scores, const ring::SamplingParams& params);

}  // namespace vigil::reference
