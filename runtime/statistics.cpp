#include "runtime/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace vigil {

double RequestStatistics::tokens_per_second() const {
    const double ms = std::accumulate(token_ms.begin(), token_ms.end(), 0.0);
    return ms > 0 ? 1000.0 * static_cast<double>(token_ms.size()) / ms : 0.0;
}

double percentile(std::span<const double> values, double p) {
    if (values.empty()) return 0.0;
    std::vector<double> sorted(values.begin(), values.end());
    std::sort(sorted.begin(), sorted.end());
    const double at = std::clamp(p, 0.0, 100.0) / 100.0 * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(std::floor(at));
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (at - std::floor(at)) * (sorted[above] - sorted[below]);
}

}  // namespace vigil
