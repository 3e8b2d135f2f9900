// Blocks of 32 weights: one scale, or a scale and an offset. Every weight is as important as the next.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "host/gguf/float16.h"
#include "host/quantize/fit.h"
#include "host/quantize/pack_block.h"

namespace vigil::quantize {
namespace {

constexpr int n_weights = 32;
constexpr auto all_alike = [] {
    std::array<float, n_weights> ones{};
    ones.fill(1);
    return ones;
}();

// 1 / scale; 0 for a scale that half has rounded to 0, whose quants don't matter.
float inverse_of(float scale) {
    return scale == 0 ? 0 : 1 / scale;
}

using Quants = std::array<int, n_weights>;  // from 0 up

// Low four bits as all blocks of 32 weights have them.
void store_nibbles(const Quants& quants, std::uint8_t (&nibbles)[16]) {
    for (std::size_t j = 0; j < 16; ++j) {
        nibbles[j] = static_cast<std::uint8_t>((quants[j] & 15) | ((quants[j + 16] & 15) << 4));
    }
}

void store_fifth_bits(const Quants& quants, std::uint8_t (&fifth_bits)[4]) {
    std::uint32_t bits = 0;
    for (std::size_t j = 0; j < n_weights; ++j) bits |= static_cast<std::uint32_t>(quants[j] >> 4) << j;
    std::memcpy(fifth_bits, &bits, sizeof bits);
}

// x ≈ d · (q − middle), q from 0 to 2 · middle − 1.
template <typename Block>
Quants fit_around_zero(const float* x, int middle, Block& block) {
    block.d = gguf::float_to_half(fit_scale({x, n_weights}, all_alike, -middle));
    const float inverse = inverse_of(gguf::half_to_float(block.d));
    const auto bound = static_cast<float>(middle);
    Quants quants;
    for (std::size_t j = 0; j < n_weights; ++j) {
        // The inverse of a subnormal scale may take a weight past the whole numbers of FP32.
        const float q = round_to_even(clamp(x[j] * inverse, -bound, bound - 1));
        quants[j] = static_cast<int>(q) + middle;
    }
    return quants;
}

// x ≈ d · q + m, q from 0 to `highest`.
template <typename Block>
Quants fit_with_offset(const float* x, int highest, Block& block) {
    const Line line = fit_line({x, n_weights}, all_alike, highest, Offset::any);
    block.d = gguf::float_to_half(line.scale);
    block.m = gguf::float_to_half(line.offset);
    const float inverse = inverse_of(gguf::half_to_float(block.d));
    const float offset = gguf::half_to_float(block.m);
    Quants quants;
    for (std::size_t j = 0; j < n_weights; ++j) {
        quants[j] = static_cast<int>(round_to_even(clamp((x[j] - offset) * inverse, 0, static_cast<float>(highest))));
    }
    return quants;
}

}  // namespace

void pack_block(const float* x, gguf::BlockQ4_0& block) {
    store_nibbles(fit_around_zero(x, 8, block), block.nibbles);
}

void pack_block(const float* x, gguf::BlockQ4_1& block) {
    store_nibbles(fit_with_offset(x, 15, block), block.nibbles);
}

void pack_block(const float* x, gguf::BlockQ5_0& block) {
    const Quants quants = fit_around_zero(x, 16, block);
    store_nibbles(quants, block.nibbles);
    store_fifth_bits(quants, block.fifth_bits);
}

void pack_block(const float* x, gguf::BlockQ5_1& block) {
    const Quants quants = fit_with_offset(x, 31, block);
    store_nibbles(quants, block.nibbles);
    store_fifth_bits(quants, block.fifth_bits);
}

// 255 steps are so fine that the scale which just covers the block is as good as any. −128 is left out, as in ggml.
void pack_block(const float* x, gguf::BlockQ8_0& block) {
    float largest = 0;
    for (int j = 0; j < n_weights; ++j) largest = std::max(largest, std::abs(x[j]));
    block.d = gguf::float_to_half(largest / 127);
    const float inverse = inverse_of(gguf::half_to_float(block.d));
    for (int j = 0; j < n_weights; ++j) {
        block.q[j] = static_cast<std::int8_t>(round_to_even(clamp(x[j] * inverse, -127, 127)));
    }
}

}  // namespace vigil::quantize
