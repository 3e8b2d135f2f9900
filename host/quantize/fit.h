// The scales under which a group of weights, rounded to few bits, comes closest to itself: a weighted least-squares fit
// for each of a few ways to lay the range of whole numbers over the group, of which the best is kept.
#pragma once

#include <span>

namespace vigil::quantize {

// Groups have a multiple of this many weights.
inline constexpr int group_granule = 8;

// The scale s for which x ≈ s · q is best, Σ importance · (x − s·q)² least, with q whole from `lowest` to −lowest − 1.
// It has the sign that puts the largest weight on the side of `lowest`; 0 if the weights are as good as 0.
// `importance` is as long as `x`.
float fit_scale(std::span<const float> x, std::span<const float> importance, int lowest);

struct Line {
    float scale;  // ≥ 0
    float offset;
};

enum class Offset { any, at_most_zero };

// The line for which x ≈ scale · q + offset is best, with q whole from 0 to `highest`. The scale is 0 if all weights
// are alike (or, with at_most_zero, 0 or less to the same extent).
Line fit_line(std::span<const float> x, std::span<const float> importance, int highest, Offset offset);

// To the nearest whole number, to even from the middle; |x| < 2^22. Unlike std::nearbyint it becomes two additions.
inline float round_to_even(float x) noexcept {
    constexpr float magic = 0x1.8p23f;  // the distance between floats there is 1
    return (x + magic) - magic;
}

inline float clamp(float x, float least, float most) noexcept {
    const float raised = x > least ? x : least;
    return raised < most ? raised : most;
}

}  // namespace vigil::quantize
