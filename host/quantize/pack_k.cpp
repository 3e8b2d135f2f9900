// Super-blocks of 256 weights: every group has a scale of its own, which is itself a whole number of few bits times a
// scale of the super-block. So each group is fitted, the fits are rounded to what the super-block can say, and the
// quants are taken anew under these.
#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "host/gguf/float16.h"
#include "host/quantize/fit.h"
#include "host/quantize/pack_block.h"

namespace vigil::quantize {
namespace {

constexpr int n_weights = 256;
using Quants = std::array<std::uint8_t, n_weights>;

float inverse_of(float scale) {
    return scale == 0 ? 0 : 1 / scale;
}

// The nearest whole number from 0 to `most`.
int whole(float x, int most) {
    return static_cast<int>(round_to_even(clamp(x, 0, static_cast<float>(most))));
}

// Σ importance · (x − scale · q − offset)² with the nearest quants from 0 to `highest`.
template <std::size_t n>
float error_of(Line line, std::span<const float, n> x, const std::array<float, n>& importance, int highest) {
    const float inverse = inverse_of(line.scale);
    const auto top = static_cast<float>(highest);
    float error = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const float q = round_to_even(clamp((x[i] - line.offset) * inverse, 0, top));
        const float difference = x[i] - (line.scale * q + line.offset);
        error += importance[i] * difference * difference;
    }
    return error;
}

// Large weights matter more to the products they are part of than small ones.
template <std::size_t n>
std::array<float, n> importance_of(const float* x) {
    float squares = 0;
    for (std::size_t i = 0; i < n; ++i) squares += x[i] * x[i];
    const float mean = std::sqrt(squares / static_cast<float>(n));
    std::array<float, n> importance;
    for (std::size_t i = 0; i < n; ++i) importance[i] = mean + std::abs(x[i]);
    return importance;
}

// Q4_K and Q5_K: x ≈ d · scale · q − dmin · minimum, q from 0 to `highest`, scales and minima of 6 bits.
template <typename Block>
Quants fit_groups_with_minimum(const float* x, int highest, Block& block) {
    constexpr std::size_t group_size = 32;
    constexpr std::size_t n_groups = n_weights / group_size;
    constexpr int most = 63;
    std::array<Line, n_groups> lines;
    float largest_scale = 0;
    float largest_minimum = 0;
    for (std::size_t g = 0; g < n_groups; ++g) {
        const float* group = x + g * group_size;
        const auto importance = importance_of<group_size>(group);
        lines[g] = fit_line({group, group_size}, importance, highest, Offset::at_most_zero);
        largest_scale = std::max(largest_scale, lines[g].scale);
        largest_minimum = std::max(largest_minimum, -lines[g].offset);
    }
    block.d = gguf::float_to_half(largest_scale / static_cast<float>(most));
    block.dmin = gguf::float_to_half(largest_minimum / most);
    const float d = gguf::half_to_float(block.d);
    const float dmin = gguf::half_to_float(block.dmin);

    Quants quants;
    block.scales = {};
    for (std::size_t g = 0; g < n_groups; ++g) {
        const std::span<const float, group_size> group(x + g * group_size, group_size);
        const auto importance = importance_of<group_size>(group.data());
        const int scale = whole(lines[g].scale * inverse_of(d), most);
        const int minimum = whole(-lines[g].offset * inverse_of(dmin), most);
        // Rounded apart, the two need not be the best pair: their neighbours are tried too.
        float least_error = INFINITY;
        for (int s = std::max(scale - 1, 0); s <= std::min(scale + 1, most); ++s) {
            for (int m = std::max(minimum - 1, 0); m <= std::min(minimum + 1, most); ++m) {
                const Line line{d * static_cast<float>(s), -dmin * static_cast<float>(m)};
                const float error = error_of(line, group, importance, highest);
                if (error < least_error) {
                    least_error = error;
                    lines[g] = line;
                    block.scales.set(static_cast<int>(g), s, m);
                }
            }
        }
        const float inverse = inverse_of(lines[g].scale);
        for (std::size_t j = 0; j < group_size; ++j) {
            quants[g * group_size + j] =
                static_cast<std::uint8_t>(whole((group[j] - lines[g].offset) * inverse, highest));
        }
    }
    return quants;
}

// Group 2i in the low, group 2i + 1 in the high nibbles of bytes 32i to 32i + 31.
void store_nibbles(const Quants& quants, std::uint8_t (&nibbles)[128]) {
    for (std::size_t pair = 0; pair < 4; ++pair) {
        const std::uint8_t* q = quants.data() + pair * 64;
        for (std::size_t j = 0; j < 32; ++j) {
            nibbles[pair * 32 + j] = static_cast<std::uint8_t>((q[j] & 15) | ((q[j + 32] & 15) << 4));
        }
    }
}

}  // namespace

void pack_block(const float* x, gguf::BlockQ4_K& block) {
    store_nibbles(fit_groups_with_minimum(x, 15, block), block.nibbles);
}

void pack_block(const float* x, gguf::BlockQ5_K& block) {
    const Quants quants = fit_groups_with_minimum(x, 31, block);
    store_nibbles(quants, block.nibbles);
    for (std::size_t j = 0; j < 32; ++j) {
        unsigned bits = 0;
        for (std::size_t g = 0; g < 8; ++g) bits |= static_cast<unsigned>(quants[g * 32 + j] >> 4) << g;
        block.fifth_bits[j] = static_cast<std::uint8_t>(bits);
    }
}

// x ≈ d · scale · (q − 32), scales of 8 bits with sign.
void pack_block(const float* x, gguf::BlockQ6_K& block) {
    constexpr std::size_t group_size = 16;
    constexpr std::size_t n_groups = n_weights / group_size;
    constexpr int middle = 32;
    std::array<float, n_groups> scales;
    float extreme = 0;
    for (std::size_t g = 0; g < n_groups; ++g) {
        const float* group = x + g * group_size;
        std::array<float, group_size> importance;
        for (std::size_t i = 0; i < group_size; ++i) importance[i] = group[i] * group[i];
        scales[g] = fit_scale({group, group_size}, importance, -middle);
        if (std::abs(scales[g]) > std::abs(extreme)) extreme = scales[g];
    }
    // The range has one number more below zero: there goes the largest scale.
    block.d = gguf::float_to_half(extreme / -128);
    const float d = gguf::half_to_float(block.d);

    Quants quants;
    for (std::size_t g = 0; g < n_groups; ++g) {
        block.scales[g] = static_cast<std::int8_t>(round_to_even(clamp(scales[g] * inverse_of(d), -128, 127)));
        const float inverse = inverse_of(d * static_cast<float>(block.scales[g]));
        for (std::size_t j = g * group_size; j < (g + 1) * group_size; ++j) {
            const float q = round_to_even(clamp(x[j] * inverse, -middle, middle - 1));
            quants[j] = static_cast<std::uint8_t>(static_cast<int>(q) + middle);
        }
    }

    for (std::size_t half = 0; half < 2; ++half) {
        const std::uint8_t* q = quants.data() + half * 128;
        std::uint8_t* nibbles = block.nibbles + half * 64;
        for (std::size_t j = 0; j < 64; ++j) {
            nibbles[j] = static_cast<std::uint8_t>((q[j] & 15) | ((q[j + 64] & 15) << 4));
        }
        for (std::size_t j = 0; j < 32; ++j) {
            block.upper_bits[half * 32 + j] = static_cast<std::uint8_t>(
                (q[j] >> 4) | ((q[j + 32] >> 4) << 2) | ((q[j + 64] >> 4) << 4) | ((q[j + 96] >> 4) << 6));
        }
    }
}

}  // namespace vigil::quantize
