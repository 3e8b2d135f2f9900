// The blocks of ggml's quantised types, byte for byte as they lie in a file (ggml-common.h). Scales are IEEE half. A
// row is its blocks one after the other, a block is sizeof(Block) bytes for Block::n_weights weights.
#pragma once

#include <cstdint>

namespace vigil::gguf {

// 32 weights: d · (q − 8). Byte j holds weight j in its low and weight j + 16 in its high nibble, here and below.
struct BlockQ4_0 {
    static constexpr int n_weights = 32;
    std::uint16_t d;
    std::uint8_t nibbles[16];
};

// 32 weights: d · q + m.
struct BlockQ4_1 {
    static constexpr int n_weights = 32;
    std::uint16_t d;
    std::uint16_t m;
    std::uint8_t nibbles[16];
};

// 32 weights: d · (q − 16). Bit j of `fifth_bits`, read as a little-endian number, is bit 4 of weight j.
struct BlockQ5_0 {
    static constexpr int n_weights = 32;
    std::uint16_t d;
    std::uint8_t fifth_bits[4];
    std::uint8_t nibbles[16];
};

// 32 weights: d · q + m.
struct BlockQ5_1 {
    static constexpr int n_weights = 32;
    std::uint16_t d;
    std::uint16_t m;
    std::uint8_t fifth_bits[4];
    std::uint8_t nibbles[16];
};

// 32 weights: d · q.
struct BlockQ8_0 {
    static constexpr int n_weights = 32;
    std::uint16_t d;
    std::int8_t q[32];
};

// Eight 6-bit scales and eight 6-bit minima in 12 bytes. Bytes 0–3 hold scales 0–3 and bytes 4–7 minima 0–3 in their
// low six bits; bytes 8–11 hold the low four bits of scales 4–7 (low nibble) and minima 4–7 (high nibble), whose high
// two bits are the top bits of bytes 0–3 and 4–7.
struct PackedScalesK {
    std::uint8_t bytes[12];

    std::uint8_t scale(int i) const noexcept {
        return static_cast<std::uint8_t>(i < 4 ? bytes[i] & 63 : (bytes[i + 4] & 15) | ((bytes[i - 4] >> 6) << 4));
    }
    std::uint8_t minimum(int i) const noexcept {
        return static_cast<std::uint8_t>(i < 4 ? bytes[i + 4] & 63 : (bytes[i + 4] >> 4) | ((bytes[i] >> 6) << 4));
    }
    // Both from 0 to 63.
    void set(int i, int scale, int minimum) noexcept {
        if (i < 4) {
            bytes[i] = static_cast<std::uint8_t>((bytes[i] & 0xc0) | scale);
            bytes[i + 4] = static_cast<std::uint8_t>((bytes[i + 4] & 0xc0) | minimum);
        } else {
            bytes[i + 4] = static_cast<std::uint8_t>((scale & 15) | ((minimum & 15) << 4));
            bytes[i - 4] = static_cast<std::uint8_t>((bytes[i - 4] & 63) | ((scale >> 4) << 6));
            bytes[i] = static_cast<std::uint8_t>((bytes[i] & 63) | ((minimum >> 4) << 6));
        }
    }
};

// 256 weights in 16 groups of 16: d · (scale & 15) · q − dmin · (scale >> 4). Each half of 128 weights has 32 bytes:
// weights 32i to 32i + 31 of it are the bits 2i and 2i + 1 of these bytes.
struct BlockQ2_K {
    static constexpr int n_weights = 256;
    std::uint8_t scales[16];
    std::uint8_t quants[64];
    std::uint16_t d;
    std::uint16_t dmin;
};

// 256 weights in 16 groups of 16: d · scale · (q − 4). Low two bits of q as in Q2_K; its third bit for weight 32i + j
// is bit i of byte j of `third_bits`. The scale of group g is 6 bits less 32: four in the nibble g / 8 of byte g % 8 of
// `packed_scales`, the upper two in the bits 2 (g / 4) and 2 (g / 4) + 1 of byte 8 + g % 4.
struct BlockQ3_K {
    static constexpr int n_weights = 256;
    std::uint8_t third_bits[32];
    std::uint8_t quants[64];
    std::uint8_t packed_scales[12];
    std::uint16_t d;

    int scale(int group) const noexcept {
        const int low = (packed_scales[group % 8] >> (group / 8 * 4)) & 15;
        const int high = (packed_scales[8 + group % 4] >> (group / 4 * 2)) & 3;
        return (low | (high << 4)) - 32;
    }
    // From −32 to 31; the block's scales are 0 bits before.
    void set_scale(int group, int scale) noexcept {
        const auto bits = static_cast<unsigned>(scale + 32);
        auto& low = packed_scales[group % 8];
        auto& high = packed_scales[8 + group % 4];
        low = static_cast<std::uint8_t>(low | ((bits & 15) << (group / 8 * 4)));
        high = static_cast<std::uint8_t>(high | ((bits >> 4) << (group / 4 * 2)));
    }
};

// 256 weights in 8 groups of 32: d · scale · q − dmin · minimum. Group 2i is in the low, group 2i + 1 in the high
// nibbles of bytes 32i to 32i + 31.
struct BlockQ4_K {
    static constexpr int n_weights = 256;
    std::uint16_t d;
    std::uint16_t dmin;
    PackedScalesK scales;
    std::uint8_t nibbles[128];
};

// As Q4_K; bit i of byte j of `fifth_bits` is bit 4 of weight j of group i.
struct BlockQ5_K {
    static constexpr int n_weights = 256;
    std::uint16_t d;
    std::uint16_t dmin;
    PackedScalesK scales;
    std::uint8_t fifth_bits[32];
    std::uint8_t nibbles[128];
};

// 256 weights in 16 groups of 16: d · scale · (q − 32). Each half of 128 weights has 64 bytes of low nibbles (weights
// 0–63 low, 64–127 high) and 32 bytes of upper bit pairs (weights 32i to 32i + 31 in bits 2i and 2i + 1).
struct BlockQ6_K {
    static constexpr int n_weights = 256;
    std::uint8_t nibbles[128];
    std::uint8_t upper_bits[64];
    std::int8_t scales[16];
    std::uint16_t d;
};

// What the 16 quants of IQ4_NL and IQ4_XS stand for.
inline constexpr std::int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

// 32 weights: d · iq4_values[q]. Nibbles as in Q4_0.
struct BlockIQ4_NL {
    static constexpr int n_weights = 32;
    std::uint16_t d;
    std::uint8_t nibbles[16];
};

// 256 weights in 8 groups of 32: d · scale · iq4_values[q]. Group g has bytes 16g to 16g + 15, nibbles as in Q4_0. Its
// scale is 6 bits less 32: four in the nibble g % 2 of byte g / 2 of `scales_low`, the upper two in the bits 2g and
// 2g + 1 of `scales_high`.
struct BlockIQ4_XS {
    static constexpr int n_weights = 256;
    std::uint16_t d;
    std::uint16_t scales_high;
    std::uint8_t scales_low[4];
    std::uint8_t nibbles[128];

    int scale(int group) const noexcept {
        const int low = (scales_low[group / 2] >> (group % 2 * 4)) & 15;
        return (low | (((scales_high >> (group * 2)) & 3) << 4)) - 32;
    }
    // As in Q3_K.
    void set_scale(int group, int scale) noexcept {
        const auto bits = static_cast<unsigned>(scale + 32);
        auto& low = scales_low[group / 2];
        low = static_cast<std::uint8_t>(low | ((bits & 15) << (group % 2 * 4)));
        scales_high = static_cast<std::uint16_t>(scales_high | ((bits >> 4) << (group * 2)));
    }
};

// Twice the values of the 4-bit floats (E2M1) of MXFP4, so that they are whole.
inline constexpr std::int8_t mxfp4_doubled_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 32 weights: 2^(exponent − 128) · mxfp4_doubled_values[q]; nibbles as in Q4_0. The exponent is an E8M0 of the OCP
// Microscaling Formats specification 1.0: 255 is NaN there.
struct BlockMXFP4 {
    static constexpr int n_weights = 32;
    std::uint8_t exponent;
    std::uint8_t nibbles[16];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176);
static_assert(sizeof(BlockQ6_K) == 210 && sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110);
static_assert(sizeof(BlockIQ4_NL) == 18 && sizeof(BlockIQ4_XS) == 136 && sizeof(BlockMXFP4) == 17);

}  // namespace vigil::gguf
