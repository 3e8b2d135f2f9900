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

std::vector<std::int32_t> kept_tokens(std::span<const float> scores, const ring::SamplingParams& params) {
    std::vector<std::int32_t> kept;
    for (std::size_t i = 0; i < scores.size(); ++i)
        if (!std::isnan(scores[i])) kept.push_back(static_cast<std::int32_t>(i));
    const auto score = [&](std::size_t rank) {
        return static_cast<double>(scores[static_cast<std::size_t>(kept[rank])]);
    };
    std::stable_sort(kept.begin(), kept.end(), [&](std::int32_t a, std::int32_t b) {
        return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    const auto cut = [&](std::size_t n) {  // keeps n and those that are equal to the last of them
        while (n > 0 && n < kept.size() && score(n) >= score(n - 1)) ++n;
        kept.resize(std::min(n, kept.size()));
    };
    if (kept.empty()) return kept;
    const double top = score(0);
    const auto mass = [&](std::size_t rank) { return score(rank) >= top ? 1.0 : std::exp(score(rank) - top); };
    if (params.top_k > 0) cut(static_cast<std::size_t>(params.top_k));
    if (params.top_p < 1.0f) {
        double total = 0.0;
        for (std::size_t rank = 0; rank < kept.size(); ++rank) total += mass(rank);
        double reached = 0.0;
        std::size_t n = 0;
        while (n < kept.size() && (n == 0 || reached < static_cast<double>(params.top_p) * total)) reached += mass(n++);
        cut(n);
    }
    if (params.min_p > 0.0f) {
        const double least = top + std::log(static_cast<double>(params.min_p));
        std::size_t n = 1;
        while (n < kept.size() && score(n) >= least) ++n;
        cut(n);
    }
    return kept;
}

}  // namespace vigil::reference
