// Method: as ggml's reference quantisers, the range of quants is stretched and shrunk a little around the one that just
// covers the group; each such grid gives quants, the quants give the best scales in closed form, and the scales an
// error.
#include "host/quantize/fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace vigil::quantize {
namespace {

constexpr float as_good_as_zero = 1e-30f;  // far below half's least; its inverse is still finite
constexpr int grids_each_side = 10;
constexpr float grid_step = 0.1f;  // by how much of a quant two grids differ at the end of the range

// A sum in eight parts, which the compiler keeps in vector registers.
class Sum {
   public:
    float& operator[](std::size_t lane) { return parts_[lane]; }
    float total() const {
        return ((parts_[0] + parts_[1]) + (parts_[2] + parts_[3])) +
               ((parts_[4] + parts_[5]) + (parts_[6] + parts_[7]));
    }

   private:
    std::array<float, group_granule> parts_{};
};

template <typename Body>
void for_each_weight(std::size_t n, Body body) {
    for (std::size_t i = 0; i < n; i += group_granule) {
        for (std::size_t lane = 0; lane < group_granule; ++lane) body(i + lane, lane);
    }
}

// Solves for the line through (q, x) with given importance, from its moments.
struct Moments {
    float w = 0, x = 0, q = 0, xq = 0, qq = 0;

    Line line(Offset kind) const {
        const float determinant = w * qq - q * q;
        // With all quants alike there is no slope to fit.
        const Line best =
            determinant > 0 ? Line{(w * xq - x * q) / determinant, (qq * x - q * xq) / determinant} : Line{0, x / w};
        if (kind == Offset::at_most_zero && best.offset > 0) return {xq / qq, 0};
        return best;
    }
};

}  // namespace

float fit_scale(std::span<const float> x, std::span<const float> importance, int lowest) {
    float extreme = 0;
    for (const float value : x) {
        if (std::abs(value) > std::abs(extreme)) extreme = value;
    }
    if (!(std::abs(extreme) > as_good_as_zero)) return 0;

    const auto least = static_cast<float>(lowest);
    float best_scale = 0;
    float best_gain = 0;  // by how much the scale makes the error less than that of zeros
    for (int grid = -grids_each_side; grid <= grids_each_side; ++grid) {
        const float inverse = (least + grid_step * static_cast<float>(grid)) / extreme;
        Sum xq;
        Sum qq;
        for_each_weight(x.size(), [&](std::size_t i, std::size_t lane) {
            const float q = clamp(round_to_even(inverse * x[i]), least, -least - 1);
            xq[lane] += importance[i] * x[i] * q;
            qq[lane] += importance[i] * q * q;
        });
        const float squares = qq.total();
        if (!(squares > 0)) continue;
        const float scale = xq.total() / squares;
        const float gain = scale * xq.total();
        if (gain > best_gain) {
            best_gain = gain;
            best_scale = scale;
        }
    }
    return best_scale;
}

Line fit_line(std::span<const float> x, std::span<const float> importance, int highest, Offset offset) {
    auto [least_place, most_place] = std::minmax_element(x.begin(), x.end());
    float least = *least_place;
    const float most = *most_place;
    if (offset == Offset::at_most_zero) least = std::min(least, 0.0f);
    if (!(most - least > as_good_as_zero)) return {0, least};

    const auto top = static_cast<float>(highest);
    Sum importance_sum;
    Sum x_sum;
    for_each_weight(x.size(), [&](std::size_t i, std::size_t lane) {
        importance_sum[lane] += importance[i];
        x_sum[lane] += importance[i] * x[i];
    });
    Line best{};
    float best_error = INFINITY;
    for (int grid = -grids_each_side; grid <= grids_each_side; ++grid) {
        const float inverse = (top + grid_step * static_cast<float>(grid)) / (most - least);
        const auto quant = [&](float value) { return clamp(round_to_even((value - least) * inverse), 0, top); };
        Sum q_sum;
        Sum xq_sum;
        Sum qq_sum;
        for_each_weight(x.size(), [&](std::size_t i, std::size_t lane) {
            const float q = quant(x[i]);
            q_sum[lane] += importance[i] * q;
            xq_sum[lane] += importance[i] * x[i] * q;
            qq_sum[lane] += importance[i] * q * q;
        });
        const Moments moments{importance_sum.total(), x_sum.total(), q_sum.total(), xq_sum.total(), qq_sum.total()};
        const Line line = moments.line(offset);
        // Not from the moments: their differences cancel where the offset is large.
        Sum error_sum;
        for_each_weight(x.size(), [&](std::size_t i, std::size_t lane) {
            const float difference = line.scale * quant(x[i]) + line.offset - x[i];
            error_sum[lane] += importance[i] * difference * difference;
        });
        const float error = error_sum.total();
        if (line.scale > 0 && error < best_error) {
            best_error = error;
            best = line;
        }
    }
    return best;
}

}  // namespace vigil::quantize
