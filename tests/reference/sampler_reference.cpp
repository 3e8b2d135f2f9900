#include "tests/reference/sampler_reference.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace vigil::reference {

std::vector<double> penalised(std::span<const double> logits, const ring::SamplingParams& params,
                              std::span<const std::int32_t> history) {
    std::vector<double> scores(logits.begin(), logits.end());
    const std::size_t window = params.penalty_last_n < 0
                                   ? history.size()
                                   : std::min(history.size(), static_cast<std::size_t>(params.penalty_last_n));
    std::map<std::int32_t, int> counts;
    for (const std::int32_t token : history.last(window)) ++counts[token];
    for (const auto& [token, count] : counts) {
        double& score = scores.at(static_cast<std::size_t>(token));
        score = score <= 0.0 ? score * static_cast<double>(params.repeat_penalty)
                             : score / static_cast<double>(params.repeat_penalty);
        score -= count * static_cast<double>(params.frequency_penalty) + static_cast<double>(params.presence_penalty);
    }
    return scores;
}

std::vector<double> next_token_distribution(std::span<const double> logits, const ring::SamplingParams& params,
                                            std::span<const std::int32_t> history) {
    const std::vector<double> scores = penalised(logits, params, history);
    std::vector<std::size_t> kept(scores.size());
    std::iota(kept.begin(), kept.end(), std::size_t{0});
    std::stable_sort(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
    const double top = scores[kept.front()];

    if (params.temperature <= 0.0f) kept.resize(1);
    if (params.top_k > 0) kept.resize(std::min(kept.size(), static_cast<std::size_t>(params.top_k)));
    if (params.top_p < 1.0f) {
        double total = 0.0;
        for (const std::size_t token : kept) total += std::exp(scores[token] - top);
        // The shortest prefix whose probability reaches top_p.
        double reached = 0.0;
        std::size_t n = 0;
        while (n < kept.size() && (n == 0 || reached < static_cast<double>(params.top_p)))
            reached += std::exp(scores[kept[n++]] - top) / total;
        kept.resize(n);
    }
    if (params.min_p > 0.0f) {
        const double least = top + std::log(static_cast<double>(params.min_p));
        std::erase_if(kept, [&](std::size_t token) { return scores[token] < least && scores[token] < top; });
    }

    std::vector<double> probabilities(scores.size(), 0.0);
    const double temperature = params.temperature > 0.0f ? static_cast<double>(params.temperature) : 1.0;
    double total = 0.0;
    for (const std::size_t token : kept) total += probabilities[token] = std::exp((scores[token] - top) / temperature);
    for (const std::size_t token : kept) probabilities[token] /= total;
    return probabilities;
}

}  // namespace vigil::reference
