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

// Of values the largest of which has these bits without its sign: they are below 2^(exponent - 126). Not smaller than
// what leaves their scale a normal number.
VIGIL_DEVICE std::uint32_t shared_exponent(std::uint32_t largest) {
    return max(largest >> 23, 32u);
}
// The power of two that takes them to below 2^bits.
VIGIL_DEVICE float scale_up(std::uint32_t exponent, std::uint32_t bits) {
    return __uint_as_float((253 - exponent + bits) << 23);
}

// Writes the vector group by group of 128 values: a warp a group, each lane four neighbouring values of it.
template <std::uint32_t Kinds>
class InputWriter {
   public:
    VIGIL_DEVICE InputWriter(Shared to, const tiles::InputLayout& at, std::uint32_t kinds, int lane)
        : kinds_(kinds), lane_(lane), digit_stride_(at.digit_stride), half_stride_(at.half_stride) {
        const auto add = [&](std::int32_t offset) { return to + static_cast<Shared>(offset); };
        // A lane of the product reads its eight values of both blocks of a slab at once.
        const int within = 4 * lane & (tiles::kSlabCols - 1);
        digits_ = add(at.digits + (lane >> 4) * tiles::kSlabCols + ((within >> 3) & 3) * 16 + (within >> 5) * 8 +
                      (within & 7));
        halves_ = add(at.halves + 8 * lane);
        bfloats_ = add(at.bfloats + 8 * lane);
        floats_ = add(at.floats + 16 * lane);
        sums_ = add(at.sums + (lane >> 3) * 4);
        digit_scales_ = add(at.digit_scales);
        half_scales_ = add(at.half_scales);
        static_assert(tiles::kScaleCols == 128 && tiles::kSumCols == 32, "a warp's columns and eight lanes'");
    }

    // The group that begins at column `base`. All lanes must call.
    VIGIL_DEVICE void store(int base, const float (&v)[4]) const {
        // This way through the warp and that of the largest value do not wait for each other.
        float sum = (v[0] + v[1]) + (v[2] + v[3]);
        if (wanted(tiles::kInt8Digits)) {
            VIGIL_UNROLL
            for (int mask = 1; mask < tiles::kSumCols / 4; mask *= 2) sum += __shfl_xor_sync(~0u, sum, mask);
        }
        std::uint32_t largest = 0;
        if (wanted(tiles::kInt8Digits) || wanted(tiles::kHalfParts)) {
            VIGIL_UNROLL
            for (int i = 0; i < 4; ++i) largest = max(largest, __float_as_uint(v[i]) & 0x7fffffffu);
            largest = __reduce_max_sync(~0u, largest);
        }
        const std::uint32_t exponent = shared_exponent(largest);
        const bool finite = largest < 0x7f800000u;  // else the product must not be
        const auto scale = [&](std::uint32_t bits_below) {
            return finite ? __uint_as_float((exponent + 1 - bits_below) << 23) : __int_as_float(0x7fffffff);
        };
        const auto at = static_cast<Shared>(base);
        if (wanted(tiles::kInt8Digits)) {
            constexpr std::uint32_t kBits = 22;
            const float up = scale_up(exponent, kBits);
            const float kMagic = 12582912.0f;  // 1.5 · 2^23: what is added to it is rounded to a whole number
            std::uint32_t q[4];
            VIGIL_UNROLL
            for (int i = 0; i < 4; ++i)
                q[i] =
                    (static_cast<std::uint32_t>(__float_as_int(fmaf(v[i], up, kMagic))) - 0x4b400000u + 0x00808080u) ^
                    0x00808080u;
            const std::uint32_t low01 = __byte_perm(q[0], q[1], 0x5140);
            const std::uint32_t low23 = __byte_perm(q[2], q[3], 0x5140);
            const std::uint32_t high01 = __byte_perm(q[0], q[1], 0x0062);
            const std::uint32_t high23 = __byte_perm(q[2], q[3], 0x0062);
            Shared plane = digits_ + at;
            store_shared4(plane, __byte_perm(low01, low23, 0x5410));
            store_shared4(plane += static_cast<Shared>(digit_stride_), __byte_perm(low01, low23, 0x7632));
            store_shared4(plane += static_cast<Shared>(digit_stride_), __byte_perm(high01, high23, 0x5410));
            if ((lane_ & 7) == 0) store_shared_float(sums_ + at / 8, sum);
            if (lane_ == 0) store_shared_float(digit_scales_ + at / 32, scale(kBits));
        }
        if (wanted(tiles::kHalfParts)) {
            constexpr std::uint32_t kBits = 15;
            const float up = scale_up(exponent, kBits);
            const __half2 a = __floats2half2_rn(v[0] * up, v[1] * up);
            const __half2 b = __floats2half2_rn(v[2] * up, v[3] * up);
            const float2 fa = __half22float2(a);
            const float2 fb = __half22float2(b);
            const __half2 c = __floats2half2_rn(fmaf(v[0], up, -fa.x), fmaf(v[1], up, -fa.y));
            const __half2 d = __floats2half2_rn(fmaf(v[2], up, -fb.x), fmaf(v[3], up, -fb.y));
            const Shared plane = halves_ + 2 * at;
            store_shared8(plane, as_word(a), as_word(b));
            store_shared8(plane + static_cast<Shared>(half_stride_), as_word(c), as_word(d));
            if (lane_ == 0) store_shared_float(half_scales_ + at / 32, scale(kBits));
        }
        if (wanted(tiles::kBfloatParts)) {
            float rest[4] = {v[0], v[1], v[2], v[3]};
            Shared plane = bfloats_ + 2 * at;
            VIGIL_UNROLL
            for (int part = 0; part < 3; ++part, plane += static_cast<Shared>(half_stride_)) {
                const __nv_bfloat162 a = __floats2bfloat162_rn(rest[0], rest[1]);
                const __nv_bfloat162 b = __floats2bfloat162_rn(rest[2], rest[3]);
                const float2 fa = __bfloat1622float2(a);
                const float2 fb = __bfloat1622float2(b);
                rest[0] -= fa.x, rest[1] -= fa.y, rest[2] -= fb.x, rest[3] -= fb.y;
                store_shared8(plane, as_word(a), as_word(b));
            }
        }
        if (wanted(tiles::kFloats)) store_shared16(floats_ + 4 * at, v[0], v[1], v[2], v[3]);
    }

   private:
    VIGIL_DEVICE bool wanted(std::uint32_t kind) const {
        return (Kinds & kind) != 0 && (Kinds == kind || (kinds_ & kind) != 0);
    }

    std::uint32_t kinds_;
    int lane_;
    int digit_stride_, half_stride_;
    Shared digits_, halves_, bfloats_, floats_, sums_, digit_scales_, half_scales_;
};

}  // namespace vigil::device::sm90
