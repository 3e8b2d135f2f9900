// The blocks of ggml's quantised types, byte for byte as they lie in a file (ggml-common.h). Scales are IEEE half.
#pragma once

#include <cstdint>

namespace vigil::gguf {

// 32 weights: d · (q − 8). Byte j holds weight j in its low and weight j + 16 in its high nibble, here and below.
struct BlockQ4_0 {
    std::uint16_t d;
    std::uint8_t nibbles[16];
};

// 32 weights: d · q + m.
struct BlockQ4_1 {
    std::uint16_t d;
    std::uint16_t m;
    std::uint8_t nibbles[16];
};

// 32 weights: d · (q − 16). Bit j of `fifth_bits`, read as a little-endian number, is bit 4 of weight j.
struct BlockQ5_0 {
    std::uint16_t d;
    std::uint8_t fifth_bits[4];
    std::uint8_t nibbles[16];
};

// 32 weights: d · q + m.
struct BlockQ5_1 {
    std::uint16_t d;
    std::uint16_t m;
    std::uint8_t fifth_bits[4];
    std::uint8_t nibbles[16];
};

// 32 weights: d · q.
struct BlockQ8_0 {
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
};

// 256 weights in 8 groups of 32: d · scale · q − dmin · minimum. Group 2i is in the low, group 2i + 1 in the high
// nibbles of bytes 32i to 32i + 31.
struct BlockQ4_K {
    std::uint16_t d;
    std::uint16_t dmin;
    PackedScalesK scales;
    std::uint8_t nibbles[128];
};

// As Q4_K; bit i of byte j of `fifth_bits` is bit 4 of weight j of group i.
struct BlockQ5_K {
    std::uint16_t d;
    std::uint16_t dmin;
    PackedScalesK scales;
    std::uint8_t fifth_bits[32];
    std::uint8_t nibbles[128];
};

// 256 weights in 16 groups of 16: d · scale · (q − 32). Each half of 128 weights has 64 bytes of low nibbles (weights
// 0–63 low, 64–127 high) and 32 bytes of upper bit pairs (weights 32i to 32i + 31 in bits 2i and 2i + 1).
struct BlockQ6_K {
    std::uint8_t nibbles[128];
    std::uint8_t upper_bits[64];
    std::int8_t scales[16];
    std::uint16_t d;
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176);
static_assert(sizeof(BlockQ6_K) == 210);

}  // namespace vigil::gguf
