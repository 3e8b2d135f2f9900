// CUDA's bfloat16 pair, for the emulator.
#pragma once

#include "tests/emulator/shim/cuda_intrinsics.h"

struct __nv_bfloat162 {
    std::uint16_t x, y;
};

// To nearest, ties to even; what is not a number stays none.
inline std::uint16_t bfloat_of(float v) {
    const std::uint32_t bits = __float_as_uint(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
    return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) {
    return {bfloat_of(a), bfloat_of(b)};
}
inline float2 __bfloat1622float2(__nv_bfloat162 v) {
    return {__uint_as_float(static_cast<std::uint32_t>(v.x) << 16),
            __uint_as_float(static_cast<std::uint32_t>(v.y) << 16)};
}
