// What a warp does with one chunk of 16 rows: one product per row. tiles.h has the layout of the bytes, input.cuh that
// of the vector. Lane 4g + t ends with a part of the sums of rows g and g + 8; the sum over t is the product.
#pragma once

#include "device/sm90/input.cuh"

namespace vigil::device::sm90 {

// The lane's row and part among those of a matrix instruction.
VIGIL_DEVICE int row_of(int lane) {
    return lane >> 2;
}
VIGIL_DEVICE int part_of(int lane) {
    return lane & 3;
}

// A prepared input as a lane reads it: what column g of the instructions is made of.
struct InputView {
    Shared digits, digit_scales, sums, halves, half_scales, bfloats, floats;
    int digit_stride;
    int lane;
    std::uint32_t parity;  // of the phase that its barriers complete when it is ready

    VIGIL_DEVICE InputView(Shared from, const tiles::InputLayout& at, int lane_index, std::uint32_t parity_when_ready)
        : digit_stride(at.digit_stride), lane(lane_index), parity(parity_when_ready) {
        const auto add = [&](std::int32_t offset) { return from + static_cast<Shared>(offset); };
        const int g = row();
        const int t = part();
        // Columns beyond the parts repeat the last one, and nobody looks at what becomes of them.
        digits = add(at.digits + min(g, 2) * at.digit_stride + 16 * t);
        halves = add(at.halves + min(g, 1) * at.half_stride + 16 * t);
        bfloats = add(at.bfloats + min(g, 2) * at.half_stride + 16 * t);
        floats = add(at.floats + 32 * t);
        digit_scales = add(at.digit_scales);
        half_scales = add(at.half_scales);
        sums = add(at.sums);
    }
    VIGIL_DEVICE int row() const { return row_of(lane); }
    VIGIL_DEVICE int part() const { return part_of(lane); }
    // The digits of slab `s`: {low four, high four} of the lane's eight values in its first block and in its second.
    VIGIL_DEVICE uint4 digits_of(int s) const {
        return load_shared16(digits + static_cast<Shared>(tiles::kSlabCols * s));
    }
    // What the digits of the 128 values around slab `s` are counted in.
    VIGIL_DEVICE float scale_of(int s) const {
        return load_shared_float(digit_scales + static_cast<Shared>((s >> 1) * 4));
    }
    VIGIL_DEVICE float sum_of(int block) const { return load_shared_float(sums + static_cast<Shared>(block * 4)); }

    // What the lane's two columns are worth: lanes 0 have digits 0 and 1, lanes 1 have digit 2.
    VIGIL_DEVICE float even_weight() const { return part() == 0 ? 1.0f : part() == 1 ? 65536.0f : 0.0f; }
    VIGIL_DEVICE float odd_weight() const { return part() == 0 ? 256.0f : 0.0f; }
    // The odd column as a multiple of the even one.
    VIGIL_DEVICE int odd_digit() const { return part() == 0 ? 256 : 0; }
};

VIGIL_DEVICE __half2 as_half2(std::uint32_t w) {
    __half2 v;
    memcpy(&v, &w, sizeof v);
    return v;
}
VIGIL_DEVICE float2 two_floats(std::uint32_t halves) {
    return __half22float2(as_half2(halves));
}

// Eight weights of two rows in each of two blocks, as bytes: what a matrix instruction takes per block, {row g, row
// g + 8} of the first four columns and of the other four.
struct SlabBytes {
    uint4 block[2];
};

constexpr std::uint32_t kLowNibbles = 0x0f0f0f0fu;
constexpr std::uint32_t kHighNibbles = 0xf0f0f0f0u;

VIGIL_DEVICE SlabBytes from_nibbles(const uint4& q) {
    return {{{q.x & kLowNibbles, q.y & kLowNibbles, q.z & kLowNibbles, q.w & kLowNibbles},
             {(q.x >> 4) & kLowNibbles, (q.y >> 4) & kLowNibbles, (q.z >> 4) & kLowNibbles, (q.w >> 4) & kLowNibbles}}};
}

// Bit 8i + J of `bits` as bit 4 of byte i.
template <int J>
VIGIL_DEVICE std::uint32_t fifth_bits(std::uint32_t bits) {
    return (J <= 4 ? bits << (J <= 4 ? 4 - J : 0) : bits >> (J > 4 ? J - 4 : 0)) & 0x10101010u;
}

VIGIL_DEVICE SlabBytes from_five_bits(const uint4& q, std::uint32_t bits) {
    SlabBytes s = from_nibbles(q);
    s.block[0].x |= fifth_bits<0>(bits), s.block[0].z |= fifth_bits<1>(bits);
    s.block[0].y |= fifth_bits<2>(bits), s.block[0].w |= fifth_bits<3>(bits);
    s.block[1].x |= fifth_bits<4>(bits), s.block[1].z |= fifth_bits<5>(bits);
    s.block[1].y |= fifth_bits<6>(bits), s.block[1].w |= fifth_bits<7>(bits);
    return s;
}

// c[block]: the lane's two columns of row g, then of row g + 8.
VIGIL_DEVICE void multiply_bytes(int (&c)[2][4], const SlabBytes& w, const uint4& x) {
    mma_int8(c[0], w.block[0].x, w.block[0].y, w.block[0].z, w.block[0].w, x.x, x.y);
    mma_int8(c[1], w.block[1].x, w.block[1].y, w.block[1].z, w.block[1].w, x.z, x.w);
}

// Of 4-bit weights; c[1] becomes 16 times as large as it should be, since their upper nibbles stay where they are.
constexpr int kUpperNibble = 16;
VIGIL_DEVICE void multiply_nibbles(int (&c)[2][4], const uint4& q, const uint4& x) {
    mma_uint8(c[0], q.x & kLowNibbles, q.y & kLowNibbles, q.z & kLowNibbles, q.w & kLowNibbles, x.x, x.y);
    mma_uint8(c[1], q.x & kHighNibbles, q.y & kHighNibbles, q.z & kHighNibbles, q.w & kHighNibbles, x.z, x.w);
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

    // What the second block's products are to be multiplied by.
    static constexpr float kSecond = Bits == 4 ? 1.0f / kUpperNibble : 1.0f;

    static VIGIL_DEVICE void multiply_quants(int (&c)[2][4], Shared slab, int lane, const uint4& x) {
        const Shared quants = slab + static_cast<Shared>(16 * lane);
        const uint4 q = load_shared16(quants);
        if (Bits == 4)
            multiply_nibbles(c, q, x);
        else if (Bits == 5)
            multiply_bytes(c, from_five_bits(q, load_shared4(slab + kQuantBytes + static_cast<Shared>(4 * lane))), x);
        else
            multiply_bytes(c, {{q, load_shared16(quants + 512)}}, x);
    }

    // Slab number `s` of the input, at `slab`.
    static VIGIL_DEVICE void multiply(Shared slab, const InputView& in, int s, float2& sum) {
        int c[2][4];
        multiply_quants(c, slab, in.lane, in.digits_of(s));
        const int odd_digit = in.odd_digit();
        const auto value = [&](int b, int row) {
            return static_cast<float>(c[b][2 * row] + odd_digit * c[b][2 * row + 1]);
        };
        float2 upper, lower;  // d of the two blocks in rows g and g + 8
        float m[2] = {};      // of the block that this lane adds the offset of
        const int block = in.part() & 1;
        if (O == Offset::kStored) {
            const uint4 raw = load_shared16(slab + kScales + static_cast<Shared>(16 * in.row()));
            const float2 pairs[4] = {two_floats(raw.x), two_floats(raw.y), two_floats(raw.z), two_floats(raw.w)};
            upper = {pairs[0].x, pairs[1].x};
            lower = {pairs[2].x, pairs[3].x};
            m[0] = block == 0 ? pairs[0].y : pairs[1].y;
            m[1] = block == 0 ? pairs[2].y : pairs[3].y;
        } else {
            const uint2 raw = load_shared8(slab + kScales + static_cast<Shared>(8 * in.row()));
            upper = two_floats(raw.x);
            lower = two_floats(raw.y);
            const float centre = Bits == 5 ? -16.0f : -8.0f;
            m[0] = centre * (block == 0 ? upper.x : upper.y);
            m[1] = centre * (block == 0 ? lower.x : lower.y);
        }
        const float scale = in.scale_of(s) * in.even_weight();
        sum.x = fmaf(fmaf(value(0, 0), upper.x, value(1, 0) * (kSecond * upper.y)), scale, sum.x);
        sum.y = fmaf(fmaf(value(0, 1), lower.x, value(1, 1) * (kSecond * lower.y)), scale, sum.y);
        if (O != Offset::kNone) {  // lanes 2 and 3, whose columns hold no digits
            const float x = in.part() >= 2 ? in.sum_of(2 * s + block) : 0.0f;
            sum.x = fmaf(m[0], x, sum.x);
            sum.y = fmaf(m[1], x, sum.y);
        }
    }
};

// Byte I of a word, times Factor. By a product, since bytes that are moved keep a busier unit busy.
template <int I, std::uint32_t Factor = 1>
VIGIL_DEVICE int byte_of(std::uint32_t w) {
    return static_cast<int>(dot_bytes(w, Factor << (8 * I)));
}

// Q4_K and Q5_K: blocks of 256 weights, in each eight of 32 with scales and minima of their own.
template <int Bits>
struct Blocks256 {
    static constexpr int kBits = 2048;                            // where the fifth bits begin in a chunk
    static constexpr int kScales = 2048 + (Bits == 5 ? 512 : 0);  // and the header
    static constexpr int kMinima = kScales + 128;
    static constexpr int kD = kMinima + 64;

    static VIGIL_DEVICE void multiply(Shared chunk, const InputView& in, int first_slab, float2& sum) {
        const int g = in.row();
        const int t = in.part();
        const uint4 words = load_shared16(chunk + kScales + static_cast<Shared>(16 * g));
        const std::uint32_t scales[4] = {words.x & 0x3f3f3f3fu, words.y & 0x3f3f3f3fu, words.z & 0x3f3f3f3fu,
                                         words.w & 0x3f3f3f3fu};
        // With 4 bits the second block's products come too large; the first block's scales are made so, too.
        constexpr std::uint32_t kFirst = Bits == 4 ? kUpperNibble : 1;
        // The lane's columns, [row][128 columns]: at most 4 · 32 · 128 · 63 times 15 · 16 or 31.
        int even[2][2] = {};
        int odd[2][2] = {};
        VIGIL_UNROLL
        for (int j = 0; j < 4; ++j) {
            const uint4 q = load_shared16(chunk + static_cast<Shared>(512 * j + 16 * in.lane));
            int c[2][4];
            if (Bits == 4)
                multiply_nibbles(c, q, in.digits_of(first_slab + j));
            else
                multiply_bytes(
                    c, from_five_bits(q, load_shared4(chunk + kBits + static_cast<Shared>(128 * j + 4 * in.lane))),
                    in.digits_of(first_slab + j));
            const int of[2][2] = {{byte_of<0, kFirst>(scales[j]), byte_of<1>(scales[j])},
                                  {byte_of<2, kFirst>(scales[j]), byte_of<3>(scales[j])}};
            VIGIL_UNROLL
            for (int row = 0; row < 2; ++row) {
                even[row][j / 2] += c[0][2 * row] * of[row][0] + c[1][2 * row] * of[row][1];
                odd[row][j / 2] += c[0][2 * row + 1] * of[row][0] + c[1][2 * row + 1] * of[row][1];
            }
        }
        // The minima of blocks 2t and 2t + 1 fall to this lane.
        const std::uint32_t own = load_shared4(chunk + kScales + static_cast<Shared>(16 * g + 4 * t));
        const std::uint32_t lows = load_shared2(chunk + kMinima + static_cast<Shared>(8 * g + 2 * t));
        const std::uint32_t minima =
            __byte_perm(lows & 0x0f0fu, (lows >> 4) & 0x0f0fu, 0x5410) | ((own >> 2) & 0x30303030u);
        const uint2 x = load_shared8(in.sums + static_cast<Shared>(8 * first_slab + 8 * t));
        const uint2 s = load_shared8(in.digit_scales + static_cast<Shared>(2 * first_slab));
        const uint2 raw = load_shared8(chunk + kD + static_cast<Shared>(8 * g));
        const auto product = [&](int row) {
            const auto of = [&](int half) {
                constexpr float kUnit = 1.0f / static_cast<float>(kFirst);
                return fmaf(static_cast<float>(even[row][half]), kUnit * in.even_weight(),
                            static_cast<float>(odd[row][half]) * (kUnit * in.odd_weight()));
            };
            return fmaf(of(0), __uint_as_float(s.x), of(1) * __uint_as_float(s.y));
        };
        const auto offset = [&](int first, int second) {
            return fmaf(static_cast<float>(first), __uint_as_float(x.x),
                        static_cast<float>(second) * __uint_as_float(x.y));
        };
        const float2 du = two_floats(raw.x);  // d and dmin
        const float2 dl = two_floats(raw.y);
        sum.x = fmaf(du.x, product(0), fmaf(-du.y, offset(byte_of<0>(minima), byte_of<1>(minima)), sum.x));
        sum.y = fmaf(dl.x, product(1), fmaf(-dl.y, offset(byte_of<2>(minima), byte_of<3>(minima)), sum.y));
    }
};

// Q6_K: blocks of 256 weights, in each 16 of 16. The digits of a block of 32's first half and those of its second half
// stand in columns of their own: 0 to 2 and 3 to 5.
struct BlocksQ6K {
    static constexpr int kUpper = 2048;
    static constexpr int kScales = kUpper + 1024;
    static constexpr int kD = kScales + 256;

    // Four times the weight, a signed byte: its low four bits in the middle, its upper pair, sign first, on top.
    template <int J>
    static VIGIL_DEVICE std::uint32_t bytes_of(std::uint32_t nibbles_times_4, std::uint32_t pairs) {
        return (nibbles_times_4 & 0x3c3c3c3cu) | ((pairs << (6 - 2 * J)) & 0xc0c0c0c0u);
    }
    static VIGIL_DEVICE void multiply(Shared chunk, const InputView& in, int first_slab, float2& sum) {
        const int g = in.row();
        const int t = in.part();
        // Column g of the instruction is digit g % 3 of the half g / 3, to which lanes t / 2 contribute.
        const bool has_digits = in.lane < 24 && t / 2 == g / 3;
        const Shared digits = in.digits + static_cast<Shared>(((g >= 3 ? g - 3 : g) - min(g, 2)) * in.digit_stride);
        int even[2][2] = {};  // columns 2t and 2t + 1, [row][128 columns]: at most 8 · 16 · 128 · 128 · 128
        int odd[2][2] = {};
        // Which of a block's two scales the even and the odd column want, as what takes it out of four bytes.
        const std::int32_t even_scale = t == 2 ? 1 << 8 : 1;
        const std::int32_t odd_scale = t == 0 ? 1 : 1 << 8;
        VIGIL_UNROLL
        for (int j = 0; j < 4; ++j) {
            uint4 b = {0, 0, 0, 0};
            if (has_digits) b = load_shared16(digits + static_cast<Shared>(tiles::kSlabCols * (first_slab + j)));
            const uint4 q = load_shared16(chunk + static_cast<Shared>(512 * j + 16 * in.lane));
            const uint2 u = load_shared8(chunk + kUpper + static_cast<Shared>(256 * j + 8 * in.lane));
            int c[2][4];
            mma_int8(c[0], bytes_of<0>(q.x << 2, u.x), bytes_of<2>(q.y << 2, u.x), bytes_of<1>(q.z << 2, u.x),
                     bytes_of<3>(q.w << 2, u.x), b.x, b.y);
            mma_int8(c[1], bytes_of<0>(q.x >> 2, u.y), bytes_of<2>(q.y >> 2, u.y), bytes_of<1>(q.z >> 2, u.y),
                     bytes_of<3>(q.w >> 2, u.y), b.z, b.w);
            const Shared scales = chunk + kScales + static_cast<Shared>(16 * g + 4 * j);
            VIGIL_UNROLL
            for (int row = 0; row < 2; ++row) {
                const auto of_row = static_cast<std::int32_t>(load_shared4(scales + static_cast<Shared>(128 * row)));
                VIGIL_UNROLL
                for (int block = 0; block < 2; ++block) {
                    even[row][j / 2] += c[block][2 * row] * dot_bytes(of_row, even_scale << (16 * block));
                    odd[row][j / 2] += c[block][2 * row + 1] * dot_bytes(of_row, odd_scale << (16 * block));
                }
            }
        }
        // What the columns' digits are worth; the weights were four times too large.
        const float even_weight = t == 0 ? 0.25f : t == 1 ? 16384.0f : t == 2 ? 64.0f : 0.0f;
        const float odd_weight = t == 0 ? 64.0f : t == 1 ? 0.25f : t == 2 ? 16384.0f : 0.0f;
        const uint2 s = load_shared8(in.digit_scales + static_cast<Shared>(2 * first_slab));
        const auto product = [&](int row) {
            const auto of = [&](int half) {
                return fmaf(static_cast<float>(even[row][half]), even_weight,
                            static_cast<float>(odd[row][half]) * odd_weight);
            };
            return fmaf(of(0), __uint_as_float(s.x), of(1) * __uint_as_float(s.y));
        };
        const float2 d = two_floats(load_shared4(chunk + kD + static_cast<Shared>(4 * g)));
        sum.x = fmaf(d.x, product(0), sum.x);
        sum.y = fmaf(d.y, product(1), sum.y);
    }
};

// F16 and BF16: `Slabs` slabs. The parts of the input are columns 0 and 1, or 0 to 2.
template <bool Bfloat, int Slabs>
VIGIL_DEVICE void multiply_halves(Shared chunk, const InputView& in, int first_slab, float2& sum) {
    float c[2][4] = {};
    VIGIL_UNROLL
    for (int n = 0; n < 2 * Slabs; ++n) {  // blocks of 32 columns
        const uint4 first = load_shared16(chunk + static_cast<Shared>(1024 * n + 16 * in.lane));
        const uint4 second = load_shared16(chunk + static_cast<Shared>(1024 * n + 512 + 16 * in.lane));
        const auto column = static_cast<Shared>(2 * (tiles::kSlabCols * first_slab + 32 * n));
        const uint4 x = load_shared16((Bfloat ? in.bfloats : in.halves) + column);
        if (Bfloat) {
            mma_bfloat(c[0], first.x, first.y, first.z, first.w, x.x, x.y);
            mma_bfloat(c[1], second.x, second.y, second.z, second.w, x.z, x.w);
        } else {
            mma_half(c[0], first.x, first.y, first.z, first.w, x.x, x.y);
            mma_half(c[1], second.x, second.y, second.z, second.w, x.z, x.w);
        }
    }
    // Lanes 0 have the first two parts, lanes 1 a third one.
    const int t = in.part();
    const float scale = Bfloat   ? (t < 2 ? 1.0f : 0.0f)
                        : t == 0 ? load_shared_float(in.half_scales + static_cast<Shared>((first_slab >> 1) * 4))
                                 : 0.0f;
    const bool both = !Bfloat || t == 0;
    sum.x = fmaf((c[0][0] + c[1][0]) + (both ? c[0][1] + c[1][1] : 0.0f), scale, sum.x);
    sum.y = fmaf((c[0][2] + c[1][2]) + (both ? c[0][3] + c[1][3] : 0.0f), scale, sum.y);
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
