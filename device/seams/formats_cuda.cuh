// The weight formats on a GPU, portable form (sm_52 up): how a lane loads its part of a row of blocks and multiplies it
// by x, and how eight weights become FP32.
//
// A row is cut into units of one lane's work: a whole block of 32, or 32 or 64 weights of a block of 256. Where a
// unit's words are on their way is the caller's affair (leaves_cuda.cuh). Blocks begin at any even byte (MXFP4's at any
// byte), so a unit is loaded as the aligned words around it and shifted into place.
//
// Quants become floats without conversions, which are slow: a byte q put beside the exponent of 128 is 128 + q, and
// beside that of 2^23 it is 2^23 + q. Seven bits or fewer are multiplied as 128 + q, and 128 times the sum of x, which
// every product of the same x shares, is taken off at the end; it costs a digit of precision. A signed byte gets its
// 2^23 + 128 taken off first.
#pragma once

#include <cuda_fp16.h>

#include "device/model.h"
#include "device/seams/block_constants.h"
#include "device/seams/team_cuda.cuh"

namespace vigil::device {

// Words of a round: what a lane has on its way at once, whatever the format. Two rounds are alive in turn.
constexpr int kRoundWords = 13;

// ---- x ----------------------------------------------------------------------------------------------------

// x as put_input4 lays it out: runs of 32 columns, each with its eight quads in an order that depends on the run, such
// that eight neighbouring lanes never meet a bank twice, whether they have a run each, every second run, or two, four
// or eight quads of the same one. Behind the runs are their sums.
VIGIL_DEVICE int input_key(int run) {
    return (run ^ run >> 2 ^ run >> 3) & 7;
}
// Index of the first float of a quad.
VIGIL_DEVICE int input_place(int run, int quad) {
    return kInputRun * run + 4 * (quad ^ input_key(run));
}

// Such an x wherever it is.
class AnyInput {
   public:
    VIGIL_DEVICE AnyInput(const float* x, int cols)
        : x_(x), sums_(x + (cols + kInputRun - 1) / kInputRun * kInputRun) {}

    struct Run {
        const float* base;
        int key;
        VIGIL_DEVICE float4 quad(int i) const { return *reinterpret_cast<const float4*>(base + 4 * (i ^ key)); }
    };
    VIGIL_DEVICE Run run(int i) const { return {x_ + kInputRun * i, input_key(i)}; }
    VIGIL_DEVICE float run_sum(int i) const { return sums_[i]; }

   private:
    const float* x_;
    const float* sums_;
};

// Such an x in shared memory, 128-byte aligned: addresses of 32 bits, and one operation for that of a quad.
class SharedInput {
   public:
    VIGIL_DEVICE SharedInput(const float* x, int cols)
        : x_(static_cast<std::uint32_t>(__cvta_generic_to_shared(x))),
          sums_(x_ + 4u * static_cast<std::uint32_t>((cols + kInputRun - 1) / kInputRun * kInputRun)) {}

    struct Run {
        std::uint32_t first;
        VIGIL_DEVICE float4 quad(int i) const {
            float4 v;
            asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                         : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                         : "r"(first ^ static_cast<std::uint32_t>(16 * i)));
            return v;
        }
    };
    VIGIL_DEVICE Run run(int i) const {
        return {x_ + static_cast<std::uint32_t>(4 * kInputRun * i + 16 * input_key(i))};
    }
    VIGIL_DEVICE float run_sum(int i) const {
        float v;
        asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(sums_ + static_cast<std::uint32_t>(4 * i)));
        return v;
    }

   private:
    std::uint32_t x_;
    std::uint32_t sums_;
};

// ---- words ------------------------------------------------------------------------------------------------

VIGIL_DEVICE std::uint32_t load_word_aligned(const char* p) {
    return __ldg(reinterpret_cast<const std::uint32_t*>(p));
}
VIGIL_DEVICE const char* aligned_down(const char* p) {
    return reinterpret_cast<const char*>(reinterpret_cast<std::uintptr_t>(p) & ~std::uintptr_t{3});
}
VIGIL_DEVICE std::uint32_t misalignment(const char* p) {
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(p)) & 3u;
}
// What __byte_perm takes to join two aligned words to the word that begins `bytes` (0 to 4) into the first.
VIGIL_DEVICE std::uint32_t joining(std::uint32_t bytes) {
    return 0x3210u + 0x1111u * bytes;
}

// The N aligned words around what begins at p. Past 4 N bytes from p rounded down nothing is read.
template <int N>
VIGIL_DEVICE void load_around(const char* p, std::uint32_t* words) {
    const char* from = aligned_down(p);
    VIGIL_UNROLL
    for (int i = 0; i < N; ++i) words[i] = load_word_aligned(from + 4 * i);
}

template <int N>
VIGIL_DEVICE void load_quads(const char* p, std::uint32_t* words) {
    VIGIL_UNROLL
    for (int i = 0; i < N; ++i) {
        const uint4 quad = __ldg(reinterpret_cast<const uint4*>(p) + i);
        words[4 * i] = quad.x;
        words[4 * i + 1] = quad.y;
        words[4 * i + 2] = quad.z;
        words[4 * i + 3] = quad.w;
    }
}

// Eight bytes at any place. Of the words around them none is read that has no byte of them.
VIGIL_DEVICE uint2 load_bytes8(const char* p) {
    const char* from = aligned_down(p);
    const std::uint32_t join = joining(misalignment(p));
    const std::uint32_t a = load_word_aligned(from);
    const std::uint32_t b = load_word_aligned(from + 4);
    const std::uint32_t c = misalignment(p) != 0 ? load_word_aligned(from + 8) : 0;
    return make_uint2(__byte_perm(a, b, join), __byte_perm(b, c, join));
}

VIGIL_DEVICE float half_of(std::uint32_t low16) {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(low16)));
}
VIGIL_DEVICE float load_half(const char* p) {
    return half_of(__ldg(reinterpret_cast<const unsigned short*>(p)));
}
VIGIL_DEVICE std::uint32_t load_byte(const char* p) {
    return __ldg(reinterpret_cast<const unsigned char*>(p));
}

// ---- products of four -------------------------------------------------------------------------------------

constexpr float kSmallBias = 128.0f;

// sum + (128 + q) · x for the four bytes q of `quants`, each below 128.
VIGIL_DEVICE float multiply_small4(std::uint32_t quants, const float4& x, float sum) {
    constexpr std::uint32_t kExponent = 0x43000000u;  // of 128; the byte goes to the upper bits of the mantissa
    sum = fmaf(__uint_as_float(__byte_perm(quants, kExponent, 0x7044)), x.x, sum);
    sum = fmaf(__uint_as_float(__byte_perm(quants, kExponent, 0x7144)), x.y, sum);
    sum = fmaf(__uint_as_float(__byte_perm(quants, kExponent, 0x7244)), x.z, sum);
    return fmaf(__uint_as_float(__byte_perm(quants, kExponent, 0x7344)), x.w, sum);
}

// sum + (q - Bias) · x for the bytes of `quants` that `Selector`'s digits name, lowest first.
template <int Bias, int Selector = 0x3210>
VIGIL_DEVICE float multiply_bytes4(std::uint32_t quants, const float4& x, float sum) {
    constexpr std::uint32_t kExponent = 0x4b000000u;  // of 2^23; the byte goes to the lowest bits of the mantissa
    constexpr float kBias = 8388608.0f + Bias;
    constexpr int kDigits[4] = {Selector & 7, Selector >> 4 & 7, Selector >> 8 & 7, Selector >> 12 & 7};
    sum = fmaf(__uint_as_float(__byte_perm(quants, kExponent, 0x7440 + kDigits[0])) - kBias, x.x, sum);
    sum = fmaf(__uint_as_float(__byte_perm(quants, kExponent, 0x7440 + kDigits[1])) - kBias, x.y, sum);
    sum = fmaf(__uint_as_float(__byte_perm(quants, kExponent, 0x7440 + kDigits[2])) - kBias, x.z, sum);
    return fmaf(__uint_as_float(__byte_perm(quants, kExponent, 0x7440 + kDigits[3])) - kBias, x.w, sum);
}
constexpr std::uint32_t kFlipSigns = 0x80808080u;  // makes a signed byte q the unsigned q + 128

constexpr std::uint32_t kLowNibbles = 0x0f0f0f0fu;

// Bits 0 to 3 of `bits`, each as bit 4 of a byte.
VIGIL_DEVICE std::uint32_t fifth_bits4(std::uint32_t bits) {
    return ((bits & 15u) * 0x00204081u & 0x01010101u) << 4;
}

// The table's entries for the four nibbles in the low half of `nibbles`, in their order.
VIGIL_DEVICE std::uint32_t look_up4(ByteTable table, std::uint32_t nibbles) {
    const std::uint32_t in_half = nibbles & 0x7777u;
    const std::uint32_t low = __byte_perm(table.words[0], table.words[1], in_half);
    const std::uint32_t high = __byte_perm(table.words[2], table.words[3], in_half);
    return __byte_perm(low, high, 0x3210u | (nibbles & 0x8888u) >> 1);
}

// ---- plain formats ----------------------------------------------------------------------------------------

// Weights are read once per token and never written while a kernel runs: past L1, through the read-only path.
VIGIL_DEVICE uint4 load_weights16(const void* p) {
#if __CUDA_ARCH__ >= 700
    uint4 v;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
        : "l"(p));
    return v;
#else
    return __ldg(static_cast<const uint4*>(p));
#endif
}

VIGIL_DEVICE void unpack_f16(const std::uint32_t* words, float (&out)[8]) {
    VIGIL_UNROLL
    for (int i = 0; i < 4; ++i) {
        __half2 pair;
        memcpy(&pair, &words[i], sizeof pair);
        const float2 values = __half22float2(pair);
        out[2 * i] = values.x;
        out[2 * i + 1] = values.y;
    }
}

VIGIL_DEVICE void unpack_bf16(const std::uint32_t* words, float (&out)[8]) {
    VIGIL_UNROLL
    for (int i = 0; i < 4; ++i) {
        out[2 * i] = __uint_as_float(words[i] << 16);
        out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
}

// A unit is 16 bytes: eight weights of 16 bit, or four of 32.
template <TensorFormat F>
struct PlainFormat {
    static constexpr int kWords = 4;
    static constexpr int kUnitsPerRound = CudaTeam::kLoadsInFlight;
    static constexpr int kWeights = F == TensorFormat::kF32 ? 4 : 8;

    static VIGIL_DEVICE int n_units(int cols) { return cols / kWeights; }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        const uint4 quad = load_weights16(row + 16 * static_cast<std::size_t>(unit));
        words[0] = quad.x;
        words[1] = quad.y;
        words[2] = quad.z;
        words[3] = quad.w;
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char*, int unit, const X& x, float sum) {
        constexpr int kUnitsPerRun = kInputRun / kWeights;
        const auto run = x.run(unit / kUnitsPerRun);
        if constexpr (F == TensorFormat::kF32) {
            const float4 xs = run.quad(unit % kUnitsPerRun);
            sum = fmaf(__uint_as_float(words[0]), xs.x, sum);
            sum = fmaf(__uint_as_float(words[1]), xs.y, sum);
            sum = fmaf(__uint_as_float(words[2]), xs.z, sum);
            return fmaf(__uint_as_float(words[3]), xs.w, sum);
        } else {
            const float4 lo = run.quad(unit % kUnitsPerRun * 2);
            const float4 hi = run.quad(unit % kUnitsPerRun * 2 + 1);
            const float xs[8] = {lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w};
            float w[8];
            if constexpr (F == TensorFormat::kF16)
                unpack_f16(words, w);
            else
                unpack_bf16(words, w);
            VIGIL_UNROLL
            for (int i = 0; i < 8; ++i) sum = fmaf(w[i], xs[i], sum);
            return sum;
        }
    }
};

// ---- blocks of 32 -----------------------------------------------------------------------------------------

struct Q8_0Format {
    static constexpr int kWords = 9;
    static constexpr int kUnitsPerRound = 1;
    static VIGIL_DEVICE int n_units(int cols) { return cols / 32; }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        load_around<9>(row + 34 * unit, words);
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char* row, int unit, const X& x, float sum) {
        const std::uint32_t shift = misalignment(row + 34 * unit);
        const std::uint32_t join = joining(shift + 2);
        const auto run = x.run(unit);
        float products = 0.0f;
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t quants = __byte_perm(words[i], words[i + 1], join) ^ kFlipSigns;
            products = multiply_bytes4<128>(quants, run.quad(i), products);
        }
        return fmaf(half_of(words[0] >> 8 * shift), products, sum);
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const float d = load_half(block);
        const uint2 q = load_bytes8(block + 2 + 8 * eighth);
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i)
            out[i] = d * static_cast<float>(static_cast<signed char>((i < 4 ? q.x : q.y) >> 8 * (i % 4)));
    }
};

// Q4_0, Q4_1, Q5_0 and Q5_1: a scale, with some a minimum, with some a fifth bit, and nibbles.
template <bool kHasMinimum, bool kHasFifth>
struct NibbleFormat {
    static constexpr int kNibblesAt = 2 + (kHasMinimum ? 2 : 0) + (kHasFifth ? 4 : 0);
    static constexpr int kBlock = kNibblesAt + 16;
    static constexpr int kWords = (kBlock + 3) / 4;
    static constexpr int kUnitsPerRound = 2;
    // What the quants' zero is, besides the bias of their floats.
    static constexpr float kZero = kHasMinimum ? 0.0f : kHasFifth ? 16.0f : 8.0f;

    static VIGIL_DEVICE int n_units(int cols) { return cols / 32; }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        load_around<kWords>(row + kBlock * unit, words);
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char* row, int unit, const X& x, float sum) {
        // Blocks with a minimum are whole words; the others begin at a word or in the middle of one.
        const std::uint32_t shift = kHasMinimum ? 0 : misalignment(row + kBlock * unit);
        const std::uint32_t join = joining(shift + 2);
        const auto word = [&](int i) {  // of what follows scale and minimum
            return kHasMinimum ? words[i + 1] : __byte_perm(words[i], words[i + 1], join);
        };
        const auto run = x.run(unit);
        const std::uint32_t fifth = kHasFifth ? word(0) : 0;
        float low = 0.0f;
        float high = 0.0f;
        VIGIL_UNROLL
        for (int i = 0; i < 4; ++i) {
            const std::uint32_t nibbles = word(i + (kHasFifth ? 1 : 0));
            std::uint32_t first = nibbles & kLowNibbles;
            std::uint32_t second = nibbles >> 4 & kLowNibbles;
            if constexpr (kHasFifth) {
                first |= fifth_bits4(fifth >> 4 * i);
                second |= fifth_bits4(fifth >> (16 + 4 * i));
            }
            low = multiply_small4(first, run.quad(i), low);
            high = multiply_small4(second, run.quad(i + 4), high);
        }
        const float d = half_of(words[0] >> 8 * shift);
        const float x_sum = x.run_sum(unit);
        sum = fmaf(d, fmaf(-(kSmallBias + kZero), x_sum, low + high), sum);
        if constexpr (kHasMinimum) sum = fmaf(half_of(words[0] >> 16), x_sum, sum);
        return sum;
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const float d = load_half(block);
        const float m = kHasMinimum ? load_half(block + 2) : 0.0f;
        const uint2 nibbles = load_bytes8(block + kNibblesAt + eighth % 2 * 8);
        const std::uint32_t fifth = kHasFifth ? load_byte(block + kNibblesAt - 4 + eighth) : 0;
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t low = (i < 4 ? nibbles.x : nibbles.y) >> (8 * (i % 4) + eighth / 2 * 4) & 15u;
            const std::uint32_t quant = low | (fifth >> i & 1u) << 4;
            out[i] = d * static_cast<float>(static_cast<int>(quant) - static_cast<int>(kZero));
            if constexpr (kHasMinimum) out[i] += m;
        }
    }
};

// IQ4_NL and MXFP4: a scale of one or two bytes, and nibbles that are numbers of a table.
template <bool kIsMxfp4>
struct TableFormat {
    static constexpr int kNibblesAt = kIsMxfp4 ? 1 : 2;
    static constexpr int kBlock = kNibblesAt + 16;
    static constexpr int kWords = 5;
    static constexpr int kUnitsPerRound = 2;
    static VIGIL_DEVICE ByteTable table() { return kIsMxfp4 ? mxfp4_doubled_values() : iq4_values(); }
    static VIGIL_DEVICE float scale_of(std::uint32_t bits) {
        return kIsMxfp4 ? mxfp4_scale(bits & 0xffu) : half_of(bits);
    }
    static VIGIL_DEVICE int n_units(int cols) { return cols / 32; }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        load_around<5>(row + kBlock * unit, words);
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char* row, int unit, const X& x, float sum) {
        const std::uint32_t shift = misalignment(row + kBlock * unit);
        const std::uint32_t join = joining(shift + kNibblesAt);
        const auto run = x.run(unit);
        float products = 0.0f;
        VIGIL_UNROLL
        for (int i = 0; i < 4; ++i) {
            const std::uint32_t nibbles = __byte_perm(words[i], words[i + 1], join);
            products = multiply_table8(table(), nibbles, run.quad(i), run.quad(i + 4), products);
        }
        return fmaf(scale_of(words[0] >> 8 * shift), products, sum);
    }
    // Four bytes of nibbles: the low ones by `low`, the high ones by `high`.
    static VIGIL_DEVICE float multiply_table8(ByteTable table, std::uint32_t nibbles, const float4& low,
                                              const float4& high, float sum) {
        // Low and high nibbles in turn.
        const std::uint32_t first = look_up4(table, nibbles) ^ kFlipSigns;
        const std::uint32_t second = look_up4(table, nibbles >> 16) ^ kFlipSigns;
        const std::uint32_t lows = __byte_perm(first, second, 0x6420);
        const std::uint32_t highs = __byte_perm(first, second, 0x7531);
        return multiply_bytes4<128>(highs, high, multiply_bytes4<128>(lows, low, sum));
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const float d = kIsMxfp4 ? mxfp4_scale(load_byte(block)) : load_half(block);
        unpack_table8(table(), block + kNibblesAt, eighth, d, out);
    }
    // Eight of 32 weights whose nibbles begin at `nibbles`.
    static VIGIL_DEVICE void unpack_table8(ByteTable table, const char* nibbles, int eighth, float scale,
                                           float (&out)[8]) {
        const uint2 bytes = load_bytes8(nibbles + eighth % 2 * 8);
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t number = (i < 4 ? bytes.x : bytes.y) >> (8 * (i % 4) + eighth / 2 * 4);
            out[i] = scale * static_cast<float>(static_cast<signed char>(look_up4(table, number & 15u)));
        }
    }
};

// ---- blocks of 256 ----------------------------------------------------------------------------------------

// The scale and minimum of one group of a Q4_K or Q5_K block for unpacking.
struct ScaleAndMinimum {
    float scale;
    float minimum;
};
VIGIL_DEVICE ScaleAndMinimum load_scale_k(const char* block, int group) {
    const PackedPair pair = unpack_scales_k(load_word_aligned(block + 4), load_word_aligned(block + 8),
                                            load_word_aligned(block + 12), group / 2);
    const int shift = group % 2 * 8;
    return {load_half(block) * static_cast<float>(pair.scales >> shift & 63u),
            load_half(block + 2) * static_cast<float>(pair.minima >> shift & 63u)};
}

// What the two groups of a pair add up to, from the block's first sixteen bytes: t0 and t1 are their sums of
// (128 + q) · x, x0 and x1 their sums of x.
VIGIL_DEVICE float scale_pair_k(const std::uint32_t* header, int pair, float t0, float t1, float x0, float x1) {
    const PackedPair packed = unpack_scales_k(header[1], header[2], header[3], pair);
    const float d = half_of(header[0]);
    const float dmin = half_of(header[0] >> 16);
    const float scaled = fmaf(static_cast<float>(packed.scales & 255u), fmaf(-kSmallBias, x0, t0),
                              static_cast<float>(packed.scales >> 8) * fmaf(-kSmallBias, x1, t1));
    const float minima =
        fmaf(static_cast<float>(packed.minima & 255u), x0, static_cast<float>(packed.minima >> 8) * x1);
    return fmaf(d, scaled, -dmin * minima);
}

// A unit is a pair of groups: 32 bytes of nibbles and the block's first sixteen bytes, which four lanes share.
struct Q4_KFormat {
    static constexpr int kWords = 12;
    static constexpr int kUnitsPerRound = 1;
    static VIGIL_DEVICE int n_units(int cols) { return cols / 64; }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        const char* block = row + 144 * (unit / 4);
        load_quads<1>(block, words);
        load_quads<2>(block + 16 + 32 * (unit % 4), words + 4);
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char*, int unit, const X& x, float sum) {
        const auto low = x.run(2 * unit);
        const auto high = x.run(2 * unit + 1);
        float t0 = 0.0f;
        float t1 = 0.0f;
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            t0 = multiply_small4(words[4 + i] & kLowNibbles, low.quad(i), t0);
            t1 = multiply_small4(words[4 + i] >> 4 & kLowNibbles, high.quad(i), t1);
        }
        return sum + scale_pair_k(words, unit % 4, t0, t1, x.run_sum(2 * unit), x.run_sum(2 * unit + 1));
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const ScaleAndMinimum s = load_scale_k(block, eighth / 4);
        const uint2 nibbles = load_bytes8(block + 16 + eighth / 8 * 32 + eighth % 4 * 8);
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t quant = (i < 4 ? nibbles.x : nibbles.y) >> (8 * (i % 4) + eighth % 8 / 4 * 4) & 15u;
            out[i] = s.scale * static_cast<float>(quant) - s.minimum;
        }
    }
};

// A unit is half a pair of groups, the first or the last sixteen weights of each: 16 bytes of nibbles, 16 of fifth bits
// and the block's first sixteen. The lane with the first half takes off the minima and biases of both.
struct Q5_KFormat {
    static constexpr int kWords = 12;
    static constexpr int kUnitsPerRound = 1;
    static VIGIL_DEVICE int n_units(int cols) { return cols / 32; }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        const char* block = row + 176 * (unit / 8);
        load_quads<1>(block, words);
        load_quads<1>(block + 16 + 16 * (unit % 2), words + 4);
        load_quads<1>(block + 48 + 16 * (unit % 8), words + 8);
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char*, int unit, const X& x, float sum) {
        const int pair = unit / 2;
        const int half = unit % 2;
        const int fifth = pair % 4 * 2;
        const auto low = x.run(2 * pair);
        const auto high = x.run(2 * pair + 1);
        float t0 = 0.0f;
        float t1 = 0.0f;
        VIGIL_UNROLL
        for (int i = 0; i < 4; ++i) {
            const std::uint32_t bits = words[4 + i] >> fifth;
            const std::uint32_t first = (words[8 + i] & kLowNibbles) | (bits << 4 & 0x10101010u);
            const std::uint32_t second = (words[8 + i] >> 4 & kLowNibbles) | (bits << 3 & 0x10101010u);
            t0 = multiply_small4(first, low.quad(4 * half + i), t0);
            t1 = multiply_small4(second, high.quad(4 * half + i), t1);
        }
        const float x0 = half == 0 ? x.run_sum(2 * pair) : 0.0f;
        const float x1 = half == 0 ? x.run_sum(2 * pair + 1) : 0.0f;
        return sum + scale_pair_k(words, pair % 4, t0, t1, x0, x1);
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const ScaleAndMinimum s = load_scale_k(block, eighth / 4);
        const uint2 nibbles = load_bytes8(block + 48 + eighth / 8 * 32 + eighth % 4 * 8);
        const uint2 fifth = load_bytes8(block + 16 + eighth % 4 * 8);
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t low = (i < 4 ? nibbles.x : nibbles.y) >> (8 * (i % 4) + eighth % 8 / 4 * 4) & 15u;
            const std::uint32_t bit = (i < 4 ? fifth.x : fifth.y) >> (8 * (i % 4) + eighth / 4) & 1u;
            out[i] = s.scale * static_cast<float>(low | bit << 4) - s.minimum;
        }
    }
};

// A unit is eight neighbours in each of the four rows of 32 that share their bytes.
struct Q6_KFormat {
    static constexpr int kWords = 13;
    static constexpr int kUnitsPerRound = 1;
    static VIGIL_DEVICE int n_units(int cols) { return cols / 32; }
    struct Place {
        int half;  // of blocks, counted through the row
        int part;  // of the rows of 32: columns 8 part to 8 part + 7
        VIGIL_DEVICE explicit Place(int unit) : half(unit / 4), part(unit % 4) {}
    };
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        const Place at(unit);
        const char* block = row + 210 * (at.half / 2);
        const char* nibbles = block + 64 * (at.half % 2) + 8 * at.part;
        load_around<3>(nibbles, words);
        load_around<3>(nibbles + 32, words + 3);
        load_around<3>(block + 128 + 32 * (at.half % 2) + 8 * at.part, words + 6);
        load_around<3>(block + 192 + 8 * (at.half % 2), words + 9);
        words[12] = __ldg(reinterpret_cast<const unsigned short*>(block + 208));
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char* row, int unit, const X& x, float sum) {
        const Place at(unit);
        const std::uint32_t join = joining(misalignment(row + 210 * (at.half / 2)));
        float t[4] = {};
        VIGIL_UNROLL
        for (int i = 0; i < 2; ++i) {
            const std::uint32_t a = __byte_perm(words[i], words[i + 1], join);
            const std::uint32_t b = __byte_perm(words[3 + i], words[4 + i], join);
            const std::uint32_t upper = __byte_perm(words[6 + i], words[7 + i], join);
            const std::uint32_t quants[4] = {
                (a & kLowNibbles) | (upper << 4 & 0x30303030u), (b & kLowNibbles) | (upper << 2 & 0x30303030u),
                (a >> 4 & kLowNibbles) | (upper & 0x30303030u), (b >> 4 & kLowNibbles) | (upper >> 2 & 0x30303030u)};
            VIGIL_UNROLL
            for (int r = 0; r < 4; ++r)
                t[r] = multiply_bytes4<32>(quants[r], x.run(4 * at.half + r).quad(2 * at.part + i), t[r]);
        }
        // The scales of the rows' first and second halves stand side by side.
        const std::uint32_t lo = __byte_perm(words[9], words[10], join) >> at.part / 2 * 8;
        const std::uint32_t hi = __byte_perm(words[10], words[11], join) >> at.part / 2 * 8;
        float products = static_cast<float>(static_cast<signed char>(lo)) * t[0];
        products = fmaf(static_cast<float>(static_cast<signed char>(lo >> 16)), t[1], products);
        products = fmaf(static_cast<float>(static_cast<signed char>(hi)), t[2], products);
        products = fmaf(static_cast<float>(static_cast<signed char>(hi >> 16)), t[3], products);
        return fmaf(half_of(words[12]), products, sum);
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const float scale =
            load_half(block + 208) * static_cast<float>(static_cast<signed char>(load_byte(block + 192 + eighth / 2)));
        const uint2 nibbles = load_bytes8(block + eighth / 16 * 64 + eighth % 8 * 8);
        const uint2 upper = load_bytes8(block + 128 + eighth / 16 * 32 + eighth % 4 * 8);
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t low = (i < 4 ? nibbles.x : nibbles.y) >> (8 * (i % 4) + eighth % 16 / 8 * 4) & 15u;
            const std::uint32_t bits = (i < 4 ? upper.x : upper.y) >> (8 * (i % 4) + eighth % 16 / 4 * 2) & 3u;
            out[i] = scale * static_cast<float>(static_cast<int>(low | bits << 4) - 32);
        }
    }
};

// A unit is sixteen neighbours in each of the four rows of 32 that share their bytes.
struct Q2_KFormat {
    static constexpr int kWords = 7;
    static constexpr int kUnitsPerRound = 1;
    static VIGIL_DEVICE int n_units(int cols) { return cols / 64; }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        const char* block = row + 84 * (unit / 4);
        load_around<4>(block + 16 + 16 * (unit % 4), words);
        load_around<2>(block + 8 * (unit % 4 / 2), words + 4);
        words[6] = load_word_aligned(block + 80);
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char*, int unit, const X& x, float sum) {
        const int half = unit / 2;    // of blocks, counted through the row
        const int in_row = unit % 2;  // the first or the last sixteen of each row
        float scaled = 0.0f;
        float minima = 0.0f;
        VIGIL_UNROLL_BY(1)
        for (int r = 0; r < 4; ++r) {
            const auto run = x.run(4 * half + r);
            float t = 0.0f;
            float x_sum = 0.0f;
            VIGIL_UNROLL
            for (int i = 0; i < 4; ++i) {
                const float4 xs = run.quad(4 * in_row + i);
                t = multiply_small4(words[i] >> 2 * r & 0x03030303u, xs, t);
                x_sum += (xs.x + xs.y) + (xs.z + xs.w);
            }
            const std::uint32_t both = (r < 2 ? words[4] : words[5]) >> (16 * (r % 2) + 8 * in_row);
            scaled = fmaf(static_cast<float>(both & 15u), fmaf(-kSmallBias, x_sum, t), scaled);
            minima = fmaf(static_cast<float>(both >> 4 & 15u), x_sum, minima);
        }
        return fmaf(half_of(words[6]), scaled, fmaf(-half_of(words[6] >> 16), minima, sum));
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const std::uint32_t both = load_byte(block + eighth / 2);
        const float scale = load_half(block + 80) * static_cast<float>(both & 15u);
        const float minimum = load_half(block + 82) * static_cast<float>(both >> 4);
        const uint2 pairs = load_bytes8(block + 16 + eighth / 16 * 32 + eighth % 4 * 8);
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t quant = (i < 4 ? pairs.x : pairs.y) >> (8 * (i % 4) + eighth % 16 / 4 * 2) & 3u;
            out[i] = scale * static_cast<float>(quant) - minimum;
        }
    }
};

// The scale of group `group`, from the three words that the scales are packed in.
VIGIL_DEVICE float scale_q3_k(std::uint32_t word0, std::uint32_t word1, std::uint32_t word2, int group) {
    const std::uint32_t low = (group % 8 < 4 ? word0 : word1) >> (8 * (group % 4) + group / 8 * 4) & 15u;
    const std::uint32_t high = word2 >> (8 * (group % 4) + group / 4 * 2) & 3u;
    return static_cast<float>(static_cast<int>(low | high << 4) - 32);
}

// A unit is eight neighbours in each of four rows of 32, as in Q6_K.
struct Q3_KFormat {
    static constexpr int kWords = 11;
    static constexpr int kUnitsPerRound = 1;
    static VIGIL_DEVICE int n_units(int cols) { return cols / 32; }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        const char* block = row + 110 * (unit / 8);
        load_around<3>(block + 8 * (unit % 4), words);
        load_around<3>(block + 32 + 8 * (unit % 8), words + 3);
        load_around<4>(block + 96, words + 6);
        words[10] = __ldg(reinterpret_cast<const unsigned short*>(block + 108));
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char* row, int unit, const X& x, float sum) {
        const int half = unit / 4;  // of blocks, counted through the row
        const int part = unit % 4;
        const std::uint32_t join = joining(misalignment(row + 110 * (unit / 8)));
        const std::uint32_t third[2] = {__byte_perm(words[0], words[1], join) >> half % 2 * 4,
                                        __byte_perm(words[1], words[2], join) >> half % 2 * 4};
        const std::uint32_t pairs[2] = {__byte_perm(words[3], words[4], join), __byte_perm(words[4], words[5], join)};
        const std::uint32_t scales[3] = {__byte_perm(words[6], words[7], join), __byte_perm(words[7], words[8], join),
                                         __byte_perm(words[8], words[9], join)};
        float products = 0.0f;
        VIGIL_UNROLL_BY(1)
        for (int r = 0; r < 4; ++r) {
            const auto run = x.run(4 * half + r);
            float t = 0.0f;
            VIGIL_UNROLL
            for (int i = 0; i < 2; ++i) {
                const std::uint32_t quants = (pairs[i] >> 2 * r & 0x03030303u) | (third[i] >> r & 0x01010101u) << 2;
                t = multiply_bytes4<4>(quants, run.quad(2 * part + i), t);
            }
            products = fmaf(scale_q3_k(scales[0], scales[1], scales[2], half % 2 * 8 + 2 * r + part / 2), t, products);
        }
        return fmaf(half_of(words[10]), products, sum);
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const uint2 scales = load_bytes8(block + 96);
        const uint2 scale_ends = load_bytes8(block + 100);
        const float scale = load_half(block + 108) * scale_q3_k(scales.x, scales.y, scale_ends.y, eighth / 2);
        const uint2 third = load_bytes8(block + eighth % 4 * 8);
        const uint2 pairs = load_bytes8(block + 32 + eighth / 16 * 32 + eighth % 4 * 8);
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const std::uint32_t low = (i < 4 ? pairs.x : pairs.y) >> (8 * (i % 4) + eighth % 16 / 4 * 2) & 3u;
            const std::uint32_t bit = (i < 4 ? third.x : third.y) >> (8 * (i % 4) + eighth / 4) & 1u;
            out[i] = scale * static_cast<float>(static_cast<int>(low | bit << 2) - 4);
        }
    }
};

// A unit is two groups: 32 bytes of nibbles and the block's first eight bytes.
struct IQ4_XSFormat {
    static constexpr int kWords = 10;
    static constexpr int kUnitsPerRound = 1;
    static VIGIL_DEVICE int n_units(int cols) { return cols / 64; }
    // Of group `group`, from the block's first two words.
    static VIGIL_DEVICE float scale_of(std::uint32_t word0, std::uint32_t word1, int group) {
        const std::uint32_t low = word1 >> 4 * group & 15u;
        const std::uint32_t high = word0 >> (16 + 2 * group) & 3u;
        return half_of(word0) * static_cast<float>(static_cast<int>(low | high << 4) - 32);
    }
    static VIGIL_DEVICE void load(const char* row, int unit, std::uint32_t* words) {
        const char* block = row + 136 * (unit / 4);
        load_around<2>(block, words);
        load_around<8>(block + 8 + 32 * (unit % 4), words + 2);
    }
    template <class X>
    static VIGIL_DEVICE float multiply(const std::uint32_t* words, const char*, int unit, const X& x, float sum) {
        VIGIL_UNROLL_BY(1)
        for (int g = 0; g < 2; ++g) {
            const auto run = x.run(2 * unit + g);
            float products = 0.0f;
            VIGIL_UNROLL
            for (int i = 0; i < 4; ++i)
                products = TableFormat<false>::multiply_table8(iq4_values(), g == 0 ? words[2 + i] : words[6 + i],
                                                               run.quad(i), run.quad(i + 4), products);
            sum = fmaf(scale_of(words[0], words[1], unit % 4 * 2 + g), products, sum);
        }
        return sum;
    }
    static VIGIL_DEVICE void unpack8(const char* block, int eighth, float (&out)[8]) {
        const float scale = scale_of(load_word_aligned(block), load_word_aligned(block + 4), eighth / 4);
        TableFormat<false>::unpack_table8(iq4_values(), block + 8 + eighth / 4 * 16, eighth % 4, scale, out);
    }
};

// ---- by their number --------------------------------------------------------------------------------------

// use(Format) for the format `f`, one that is none of blocks, or one that is. The branches are the same for all lanes.
template <class Use>
VIGIL_DEVICE auto with_plain_format(TensorFormat f, Use&& use) {
    if (f == TensorFormat::kF16) return use(PlainFormat<TensorFormat::kF16>{});
    if (f == TensorFormat::kBF16) return use(PlainFormat<TensorFormat::kBF16>{});
    return use(PlainFormat<TensorFormat::kF32>{});
}
template <class Use>
VIGIL_DEVICE auto with_block_format(TensorFormat f, Use&& use) {
    switch (f) {
        case TensorFormat::kQ4_0:
            return use(NibbleFormat<false, false>{});
        case TensorFormat::kQ4_1:
            return use(NibbleFormat<true, false>{});
        case TensorFormat::kQ5_0:
            return use(NibbleFormat<false, true>{});
        case TensorFormat::kQ5_1:
            return use(NibbleFormat<true, true>{});
        case TensorFormat::kQ4_K:
            return use(Q4_KFormat{});
        case TensorFormat::kQ5_K:
            return use(Q5_KFormat{});
        case TensorFormat::kQ6_K:
            return use(Q6_KFormat{});
        case TensorFormat::kQ2_K:
            return use(Q2_KFormat{});
        case TensorFormat::kQ3_K:
            return use(Q3_KFormat{});
        case TensorFormat::kIQ4_NL:
            return use(TableFormat<false>{});
        case TensorFormat::kIQ4_XS:
            return use(IQ4_XSFormat{});
        case TensorFormat::kMXFP4:
            return use(TableFormat<true>{});
        default:
            return use(Q8_0Format{});
    }
}
template <class Use>
VIGIL_DEVICE auto with_format(TensorFormat f, Use&& use) {
    return has_blocks(f) ? with_block_format(f, use) : with_plain_format(f, use);
}

}  // namespace vigil::device
