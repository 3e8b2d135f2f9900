// The input vector of a product, prepared once per block as what the matrix instructions eat.
//
// One column of a matrix instruction's eight would do at batch 1; the others hold the same vector again, more finely,
// so that the product keeps FP32 meaning although the instruction multiplies bytes or halves:
//
//   int8 digits   v = 2^(E - 22) · (d0 + 256 · d1 + 65536 · d2), signed digits, E from the largest of 128 values
//   half parts    v = 2^(E - 15) · (hi + lo), E likewise: hi FP16, lo the FP16 of what it leaves
//   bfloat parts  v = hi + mid + lo
//   floats        v
//
// What a number of formats needs beside it: the sums of 32 values, for what is added to all weights of a block.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "device/sm90/ptx.cuh"
#include "device/sm90/tiles.h"

namespace vigil::device::sm90 {

VIGIL_DEVICE std::uint32_t as_word(__half2 v) {
    std::uint32_t w;
    memcpy(&w, &v, sizeof w);
    return w;
}
VIGIL_DEVICE std::uint32_t as_word(__nv_bfloat162 v) {
    std::uint32_t w;
    memcpy(&w, &v, sizeof w);
    return w;
}

// 2^exponent.
VIGIL_DEVICE float power_of_two(int exponent) {
    return __int_as_float((exponent + 127) << 23);
}

// A warp stores 128 neighbouring values, each lane the four at `column` = 128 k + 4 lane. All lanes must call; those
// beyond the vector with zeros and `inside` false. `kinds` are among `Kinds`.
template <std::uint32_t Kinds>
VIGIL_DEVICE void store_input(Shared to, const tiles::InputLayout& at, std::uint32_t kinds, int column, int lane,
                              bool inside, const float (&v)[4]) {
    const auto wanted = [&](std::uint32_t kind) {
        return (Kinds & kind) != 0 && (Kinds == kind || (kinds & kind) != 0);
    };
    std::uint32_t largest = 0;
    if (wanted(tiles::kInt8Digits) || wanted(tiles::kHalfParts)) {
        VIGIL_UNROLL
        for (int i = 0; i < 4; ++i) largest = max(largest, __float_as_uint(v[i]) & 0x7fffffffu);
        largest = __reduce_max_sync(~0u, largest);
    }
    // All values are below 2^exponent. Not smaller than what leaves the scale a normal number.
    const int exponent = max(static_cast<int>(largest >> 23), 32) - 126;
    const bool finite = largest < 0x7f800000u;  // else the product must not be
    const int group = column / tiles::kScaleCols;
    if (wanted(tiles::kInt8Digits)) {
        const float up = power_of_two(22 - exponent);
        const float kMagic = 12582912.0f;  // 1.5 · 2^23: what is added to it is rounded to a whole number
        std::uint32_t q[4];
        VIGIL_UNROLL
        for (int i = 0; i < 4; ++i)
            q[i] = (static_cast<std::uint32_t>(__float_as_int(fmaf(v[i], up, kMagic))) - 0x4b400000u + 0x00808080u) ^
                   0x00808080u;
        const std::uint32_t low01 = __byte_perm(q[0], q[1], 0x5140);
        const std::uint32_t low23 = __byte_perm(q[2], q[3], 0x5140);
        const std::uint32_t high01 = __byte_perm(q[0], q[1], 0x0062);
        const std::uint32_t high23 = __byte_perm(q[2], q[3], 0x0062);
        if (inside) {
            // A lane of the product reads its eight values of both blocks of a slab at once.
            const int within = 4 * lane & (tiles::kSlabCols - 1);
            const int place = ((within >> 3) & 3) * 16 + (within >> 5) * 8 + (within & 7) - within;
            const Shared plane = to + static_cast<Shared>(at.digits + column + place);
            store_shared4(plane, __byte_perm(low01, low23, 0x5410));
            store_shared4(plane + static_cast<Shared>(at.digit_stride), __byte_perm(low01, low23, 0x7632));
            store_shared4(plane + static_cast<Shared>(2 * at.digit_stride), __byte_perm(high01, high23, 0x5410));
        }
        if (lane == 0)
            store_shared_float(to + static_cast<Shared>(at.digit_scales + 4 * group),
                               finite ? power_of_two(exponent - 22) : __int_as_float(0x7fffffff));
        float sum = (v[0] + v[1]) + (v[2] + v[3]);
        VIGIL_UNROLL
        for (int mask = 1; mask < tiles::kSumCols / 4; mask *= 2) sum += __shfl_xor_sync(~0u, sum, mask);
        if (inside && lane % (tiles::kSumCols / 4) == 0)
            store_shared_float(to + static_cast<Shared>(at.sums + column / tiles::kSumCols * 4), sum);
    }
    if (wanted(tiles::kHalfParts)) {
        const float up = power_of_two(15 - exponent);
        const __half2 a = __floats2half2_rn(v[0] * up, v[1] * up);
        const __half2 b = __floats2half2_rn(v[2] * up, v[3] * up);
        const float2 fa = __half22float2(a);
        const float2 fb = __half22float2(b);
        const __half2 c = __floats2half2_rn(fmaf(v[0], up, -fa.x), fmaf(v[1], up, -fa.y));
        const __half2 d = __floats2half2_rn(fmaf(v[2], up, -fb.x), fmaf(v[3], up, -fb.y));
        if (inside) {
            const Shared plane = to + static_cast<Shared>(at.halves + 2 * column);
            store_shared8(plane, as_word(a), as_word(b));
            store_shared8(plane + static_cast<Shared>(at.half_stride), as_word(c), as_word(d));
        }
        if (lane == 0)
            store_shared_float(to + static_cast<Shared>(at.half_scales + 4 * group),
                               finite ? power_of_two(exponent - 15) : __int_as_float(0x7fffffff));
    }
    if (wanted(tiles::kBfloatParts) && inside) {
        float rest[4] = {v[0], v[1], v[2], v[3]};
        Shared plane = to + static_cast<Shared>(at.bfloats + 2 * column);
        VIGIL_UNROLL
        for (int part = 0; part < 3; ++part, plane += static_cast<Shared>(at.half_stride)) {
            const __nv_bfloat162 a = __floats2bfloat162_rn(rest[0], rest[1]);
            const __nv_bfloat162 b = __floats2bfloat162_rn(rest[2], rest[3]);
            const float2 fa = __bfloat1622float2(a);
            const float2 fb = __bfloat1622float2(b);
            rest[0] -= fa.x, rest[1] -= fa.y, rest[2] -= fb.x, rest[3] -= fb.y;
            store_shared8(plane, as_word(a), as_word(b));
        }
    }
    if (wanted(tiles::kFloats) && inside)
        store_shared16(to + static_cast<Shared>(at.floats + 4 * column), v[0], v[1], v[2], v[3]);
}

}  // namespace vigil::device::sm90
