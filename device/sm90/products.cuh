// What a warp does with one chunk of 16 rows: one product per row. tiles.h has the layout of the bytes, input.cuh that
// of the vector. Lane 4g + t ends with a part of the sums of rows g and g + 8; the sum over t is the product.
#pragma once

#include "device/sm90/input.cuh"

namespace vigil::device::sm90 {

// A prepared input as a lane reads it.
struct InputView {
    Shared digits, digit_scales, sums, halves, half_scales, bfloats, floats;
    int digit_stride;
    float digit_weight;  // of the even column of the lane's two: 1, 65536, 0, 0 by t. The odd one is worth 256 more.
    int lane;

    VIGIL_DEVICE InputView(Shared from, const tiles::InputLayout& at, int lane_index)
        : digit_stride(at.digit_stride), lane(lane_index) {
        const auto add = [&](std::int32_t offset) { return from + static_cast<Shared>(offset); };
        const int g = lane / 4;
        const int t = lane % 4;
        digits = add(at.digits + g * at.digit_stride + 16 * t);
        halves = add(at.halves + g * at.half_stride + 16 * t);
        bfloats = add(at.bfloats + g * at.half_stride + 16 * t);
        floats = add(at.floats + 32 * t);
        digit_scales = add(at.digit_scales);
        half_scales = add(at.half_scales);
        sums = add(at.sums);
        digit_weight = t == 0 ? 1.0f : t == 1 ? 65536.0f : 0.0f;
    }
    VIGIL_DEVICE int row() const { return lane / 4; }
    VIGIL_DEVICE int part() const { return lane % 4; }
    // The digits of slab `s`: {low four, high four} of the lane's eight values in its first block and in its second.
    VIGIL_DEVICE uint4 digits_of(int s) const {
        uint4 b = {0, 0, 0, 0};
        if (lane < 12) b = load_shared16(digits + static_cast<Shared>(tiles::kSlabCols * s));
        return b;
    }
    VIGIL_DEVICE float scale_of(int s) const {
        return load_shared_float(digit_scales + static_cast<Shared>(s / 2 * 4));
    }
    VIGIL_DEVICE float sum_of(int block) const { return load_shared_float(sums + static_cast<Shared>(block * 4)); }
};

VIGIL_DEVICE __half2 as_half2(std::uint32_t w) {
    __half2 v;
    memcpy(&v, &w, sizeof v);
    return v;
}
VIGIL_DEVICE float digits_value(int even, int odd) {
    return static_cast<float>(even + 256 * odd);
}

// Two blocks of nibbles against the digits.
VIGIL_DEVICE void multiply_nibbles(int (&c)[2][4], const uint4& q, const uint4& b) {
    constexpr std::uint32_t kLow = 0x0f0f0f0fu;
    mma_int8(c[0], q.x & kLow, q.y & kLow, (q.x >> 4) & kLow, (q.y >> 4) & kLow, b.x, b.y);
    mma_int8(c[1], q.z & kLow, q.w & kLow, (q.z >> 4) & kLow, (q.w >> 4) & kLow, b.z, b.w);
}

// Bit 8i + j of `bits` as bit 4 of byte i.
template <int J>
VIGIL_DEVICE std::uint32_t fifth_bits(std::uint32_t bits) {
    return (J <= 4 ? bits << (J <= 4 ? 4 - J : 0) : bits >> (J > 4 ? J - 4 : 0)) & 0x10101010u;
}

VIGIL_DEVICE void multiply_five_bits(int (&c)[2][4], const uint4& q, std::uint32_t bits, const uint4& b) {
    constexpr std::uint32_t kLow = 0x0f0f0f0fu;
    mma_int8(c[0], (q.x & kLow) | fifth_bits<0>(bits), (q.y & kLow) | fifth_bits<2>(bits),
             ((q.x >> 4) & kLow) | fifth_bits<1>(bits), ((q.y >> 4) & kLow) | fifth_bits<3>(bits), b.x, b.y);
    mma_int8(c[1], (q.z & kLow) | fifth_bits<4>(bits), (q.w & kLow) | fifth_bits<6>(bits),
             ((q.z >> 4) & kLow) | fifth_bits<5>(bits), ((q.w >> 4) & kLow) | fifth_bits<7>(bits), b.z, b.w);
}

enum class Offset {
    kNone,     // w = d · q
    kCentred,  // w = d · (q − half the range)
    kStored,   // w = d · q + m
};

// Blocks of 32 weights with an FP16 scale each: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1.
template <int Bits, Offset O>
struct Blocks32 {
    static constexpr int kQuantBytes = Bits == 8 ? 1024 : 512;
    static constexpr int kScales = kQuantBytes + (Bits == 5 ? 128 : 0);  // where they begin in a slab
    static constexpr int kSlabBytes = kScales + (O == Offset::kStored ? 128 : 64);

    // Slab number `s` of the input, at `slab`.
    static VIGIL_DEVICE void multiply(Shared slab, const InputView& in, int s, float2& sum) {
        const uint4 b = in.digits_of(s);
        const Shared quants = slab + static_cast<Shared>(16 * in.lane);
        int c[2][4];
        if (Bits == 8) {
            const uint4 q0 = load_shared16(quants);
            const uint4 q1 = load_shared16(quants + 512);
            mma_int8(c[0], q0.x, q0.y, q0.z, q0.w, b.x, b.y);
            mma_int8(c[1], q1.x, q1.y, q1.z, q1.w, b.z, b.w);
        } else if (Bits == 5) {
            multiply_five_bits(c, load_shared16(quants),
                               load_shared4(slab + kQuantBytes + static_cast<Shared>(4 * in.lane)), b);
        } else {
            multiply_nibbles(c, load_shared16(quants), b);
        }
        float d[2][2];  // [h][b]
        float m[2];     // of the block that this lane adds the offset of
        const int block = in.part() & 1;
        if (O == Offset::kStored) {
            const uint4 raw = load_shared16(slab + kScales + static_cast<Shared>(16 * in.row()));
            const float2 pairs[4] = {__half22float2(as_half2(raw.x)), __half22float2(as_half2(raw.y)),
                                     __half22float2(as_half2(raw.z)), __half22float2(as_half2(raw.w))};
            d[0][0] = pairs[0].x, d[0][1] = pairs[1].x, d[1][0] = pairs[2].x, d[1][1] = pairs[3].x;
            m[0] = block == 0 ? pairs[0].y : pairs[1].y;
            m[1] = block == 0 ? pairs[2].y : pairs[3].y;
        } else {
            const uint2 raw = load_shared8(slab + kScales + static_cast<Shared>(8 * in.row()));
            const float2 first = __half22float2(as_half2(raw.x));
            const float2 second = __half22float2(as_half2(raw.y));
            d[0][0] = first.x, d[0][1] = first.y, d[1][0] = second.x, d[1][1] = second.y;
            const float centre = Bits == 5 ? -16.0f : -8.0f;
            m[0] = centre * (block == 0 ? d[0][0] : d[0][1]);
            m[1] = centre * (block == 0 ? d[1][0] : d[1][1]);
        }
        const float scale = in.scale_of(s) * in.digit_weight;
        sum.x =
            fmaf(fmaf(digits_value(c[0][0], c[0][1]), d[0][0], digits_value(c[1][0], c[1][1]) * d[0][1]), scale, sum.x);
        sum.y =
            fmaf(fmaf(digits_value(c[0][2], c[0][3]), d[1][0], digits_value(c[1][2], c[1][3]) * d[1][1]), scale, sum.y);
        if (O != Offset::kNone && in.part() >= 2) {  // their columns hold no digits
            const float x = in.sum_of(2 * s + block);
            sum.x = fmaf(m[0], x, sum.x);
            sum.y = fmaf(m[1], x, sum.y);
        }
    }
};

// Scales of blocks 2t and 2t + 1 as bytes, of eight whose low four bits and upper two bits are given.
VIGIL_DEVICE std::uint32_t two_scales(std::uint32_t low, std::uint32_t upper, int t) {
    low >>= 8 * t;
    upper >>= 4 * t;
    return (low & 15) | ((low & 0xf0) << 4) | ((upper & 3) << 4) | ((upper & 12) << 10);
}

// Q4_K and Q5_K: blocks of 256 weights, in each eight of 32 with scales and minima of their own.
template <int Bits>
struct Blocks256 {
    static constexpr int kBits = 2048;                          // where the fifth bits begin in a chunk
    static constexpr int kRows = 2048 + (Bits == 5 ? 512 : 0);  // and what there is per row

    static VIGIL_DEVICE void multiply(Shared chunk, const InputView& in, int first_slab, float2& sum) {
        const int g = in.row();
        const int t = in.part();
        const uint4 upper = load_shared16(chunk + kRows + static_cast<Shared>(16 * g));
        const uint4 lower = load_shared16(chunk + kRows + static_cast<Shared>(16 * (g + 8)));
        // This lane's two blocks' scales of both rows; the others' come from their lanes.
        const std::uint32_t scales = two_scales(upper.y, upper.w, t) | (two_scales(lower.y, lower.w, t) << 16);
        float2 products = {0.0f, 0.0f};
        VIGIL_UNROLL
        for (int j = 0; j < 4; ++j) {
            const Shared at = chunk + static_cast<Shared>(512 * j + 16 * in.lane);
            const uint4 b = in.digits_of(first_slab + j);
            int c[2][4];
            if (Bits == 5)
                multiply_five_bits(c, load_shared16(at),
                                   load_shared4(chunk + kBits + static_cast<Shared>(128 * j + 4 * in.lane)), b);
            else
                multiply_nibbles(c, load_shared16(at), b);
            const std::uint32_t here = __shfl_sync(~0u, scales, (in.lane & ~3) | j);
            const float scale = in.scale_of(first_slab + j);
            // At most 32 · 31 · 128 · 257 · 63, below 2^31.
            const auto block = [&](int n, int row) {
                const int s = static_cast<int>((here >> (16 * row + 8 * n)) & 63);
                return static_cast<float>((c[n][2 * row] + 256 * c[n][2 * row + 1]) * s);
            };
            products.x = fmaf(block(0, 0) + block(1, 0), scale, products.x);
            products.y = fmaf(block(0, 1) + block(1, 1), scale, products.y);
        }
        const float2 du = __half22float2(as_half2(upper.x));  // d and dmin
        const float2 dl = __half22float2(as_half2(lower.x));
        const std::uint32_t mu = two_scales(upper.z, upper.w >> 16, t);
        const std::uint32_t ml = two_scales(lower.z, lower.w >> 16, t);
        const float x0 = in.sum_of(2 * first_slab + 2 * t);
        const float x1 = in.sum_of(2 * first_slab + 2 * t + 1);
        const auto minima = [&](std::uint32_t m) {
            return fmaf(static_cast<float>(m & 255), x0, static_cast<float>(m >> 8) * x1);
        };
        sum.x = fmaf(du.x * in.digit_weight, products.x, fmaf(-du.y, minima(mu), sum.x));
        sum.y = fmaf(dl.x * in.digit_weight, products.y, fmaf(-dl.y, minima(ml), sum.y));
    }
};

// Q6_K: blocks of 256 weights, in each 16 of 16. The digits of a block of 32's first half and those of its second half
// stand in columns of their own: 0 to 2 and 3 to 5.
struct BlocksQ6K {
    static constexpr int kUpper = 2048;
    static constexpr int kScales = kUpper + 1024;
    static constexpr int kD = kScales + 256;

    // 6 bits less 32, as signed bytes: bit 5 is the sign, upside down.
    static VIGIL_DEVICE std::uint32_t centred(std::uint32_t q) {
        q ^= 0x20202020u;
        return q + (q & 0x20202020u) * 6;
    }
    template <int J>
    static VIGIL_DEVICE std::uint32_t upper_pairs(std::uint32_t bits) {
        return (J <= 2 ? bits << (J <= 2 ? 4 - 2 * J : 0) : bits >> (J > 2 ? 2 * J - 4 : 0)) & 0x30303030u;
    }
    static VIGIL_DEVICE void multiply(Shared chunk, const InputView& in, int first_slab, float2& sum) {
        constexpr std::uint32_t kLow = 0x0f0f0f0fu;
        const int g = in.row();
        const int t = in.part();
        // Column g of the instruction is digit g % 3 of the half g / 3, to which lanes t / 2 contribute.
        const bool has_digits = in.lane < 24 && t / 2 == g / 3;
        const int back = g >= 3 ? 3 : 0;
        // Columns 2t and 2t + 1: which half's, and what the digit is worth.
        const float even_weight = t == 0 ? 1.0f : t == 1 ? 65536.0f : t == 2 ? 256.0f : 0.0f;
        const float odd_weight = t == 0 ? 256.0f : t == 1 ? 1.0f : t == 2 ? 65536.0f : 0.0f;
        const int even_half = t == 2 ? 1 : 0;
        const int odd_half = t == 0 ? 0 : 1;
        const Shared digits = in.digits - static_cast<Shared>(back * in.digit_stride);
        float2 products = {0.0f, 0.0f};
        VIGIL_UNROLL
        for (int j = 0; j < 4; ++j) {
            uint4 b = {0, 0, 0, 0};
            if (has_digits) b = load_shared16(digits + static_cast<Shared>(tiles::kSlabCols * (first_slab + j)));
            const uint4 q = load_shared16(chunk + static_cast<Shared>(512 * j + 16 * in.lane));
            const uint2 u = load_shared8(chunk + kUpper + static_cast<Shared>(256 * j + 8 * in.lane));
            int c[2][4];
            mma_int8(c[0], centred((q.x & kLow) | upper_pairs<0>(u.x)), centred((q.y & kLow) | upper_pairs<2>(u.x)),
                     centred(((q.x >> 4) & kLow) | upper_pairs<1>(u.x)),
                     centred(((q.y >> 4) & kLow) | upper_pairs<3>(u.x)), b.x, b.y);
            mma_int8(c[1], centred((q.z & kLow) | upper_pairs<0>(u.y)), centred((q.w & kLow) | upper_pairs<2>(u.y)),
                     centred(((q.z >> 4) & kLow) | upper_pairs<1>(u.y)),
                     centred(((q.w >> 4) & kLow) | upper_pairs<3>(u.y)), b.z, b.w);
            const Shared scales = chunk + kScales + static_cast<Shared>(16 * g + 4 * j);
            const std::uint32_t of_rows[2] = {load_shared4(scales), load_shared4(scales + 128)};
            const float scale = in.scale_of(first_slab + j);
            const auto block = [&](int n, int row) {
                const auto at = [&](int half) {
                    return static_cast<int>(static_cast<std::int8_t>(of_rows[row] >> (16 * n + 8 * half)));
                };
                return fmaf(static_cast<float>(c[n][2 * row] * at(even_half)), even_weight,
                            static_cast<float>(c[n][2 * row + 1] * at(odd_half)) * odd_weight);
            };
            products.x = fmaf(block(0, 0) + block(1, 0), scale, products.x);
            products.y = fmaf(block(0, 1) + block(1, 1), scale, products.y);
        }
        const auto d = [&](int row) {
            const std::uint32_t raw = load_shared2(chunk + kD + static_cast<Shared>(2 * row));
            return __half2float(__ushort_as_half(static_cast<unsigned short>(raw)));
        };
        sum.x = fmaf(d(g), products.x, sum.x);
        sum.y = fmaf(d(g + 8), products.y, sum.y);
    }
};

// F16 and BF16, one slab. The parts of the input are columns 0 and 1, or 0 to 2.
template <bool Bfloat>
VIGIL_DEVICE void multiply_halves(Shared slab, const InputView& in, int s, float2& sum) {
    float c[2][4] = {};
    VIGIL_UNROLL
    for (int b = 0; b < 2; ++b) {
        const uint4 upper = load_shared16(slab + static_cast<Shared>(1024 * b + 16 * in.lane));
        const uint4 lower = load_shared16(slab + static_cast<Shared>(1024 * b + 512 + 16 * in.lane));
        uint4 x = {0, 0, 0, 0};
        const auto column = static_cast<Shared>(2 * (tiles::kSlabCols * s + 32 * b));
        if (Bfloat) {
            if (in.lane < 12) x = load_shared16(in.bfloats + column);
            mma_bfloat(c[b], upper.x, lower.x, upper.y, lower.y, x.x, x.y);
            mma_bfloat(c[b], upper.z, lower.z, upper.w, lower.w, x.z, x.w);
        } else {
            if (in.lane < 8) x = load_shared16(in.halves + column);
            mma_half(c[b], upper.x, lower.x, upper.y, lower.y, x.x, x.y);
            mma_half(c[b], upper.z, lower.z, upper.w, lower.w, x.z, x.w);
        }
    }
    const float scale = Bfloat ? 1.0f : load_shared_float(in.half_scales + static_cast<Shared>(s / 2 * 4));
    sum.x = fmaf((c[0][0] + c[0][1]) + (c[1][0] + c[1][1]), scale, sum.x);
    sum.y = fmaf((c[0][2] + c[0][3]) + (c[1][2] + c[1][3]), scale, sum.y);
}

// F32, one slab, without matrix instructions.
VIGIL_DEVICE void multiply_floats(Shared slab, const InputView& in, int s, float2& sum) {
    VIGIL_UNROLL_BY(1)
    for (int b = 0; b < 2; ++b) {
        VIGIL_UNROLL
        for (int p = 0; p < 2; ++p) {
            const auto at = [&](int h) {
                return slab + static_cast<Shared>(((2 * b + h) * 2 + p) * 512 + 16 * in.lane);
            };
            const uint4 upper = load_shared16(at(0));
            const uint4 lower = load_shared16(at(1));
            const uint4 x = load_shared16(in.floats + static_cast<Shared>(4 * (tiles::kSlabCols * s + 32 * b + 4 * p)));
            const auto dot = [&](const uint4& w, float total) {
                total = fmaf(__uint_as_float(w.x), __uint_as_float(x.x), total);
                total = fmaf(__uint_as_float(w.y), __uint_as_float(x.y), total);
                total = fmaf(__uint_as_float(w.z), __uint_as_float(x.z), total);
                return fmaf(__uint_as_float(w.w), __uint_as_float(x.w), total);
            };
            sum.x = dot(upper, sum.x);
            sum.y = dot(lower, sum.y);
        }
    }
}

}  // namespace vigil::device::sm90
