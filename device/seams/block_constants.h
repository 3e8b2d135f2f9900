// What the kernels must know of the block formats beyond a block's size (docs/gguf.md has the layouts): the values that
// quants stand for where they are no numbers themselves, and the scale of MXFP4.
#pragma once

#include "device/model.h"
#include "device/seams/qualifiers.h"

namespace vigil::device {

// Sixteen signed bytes by their number, four to a word.
struct ByteTable {
    std::uint32_t words[4];
};

// IQ4_NL and IQ4_XS: -127 -104 -83 -65, -49 -35 -22 -10, 1 13 25 38, 53 69 89 113.
VIGIL_HD constexpr ByteTable iq4_values() {
    return {{0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u}};
}
// MXFP4, doubled: 0 1 2 3, 4 6 8 12, and the same negative.
VIGIL_HD constexpr ByteTable mxfp4_doubled_values() {
    return {{0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu}};
}

// 2^(exponent - 128): half of what an E8M0 exponent stands for, since the table has doubled values. Below 2 the result
// is subnormal.
VIGIL_DEVICE float mxfp4_scale(std::uint32_t exponent) {
    return ring::bits_float(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

// The scale and the minimum of groups 2i and 2i + 1 of a Q4_K or Q5_K block, in the two low bytes of a word each, from
// the twelve packed bytes in `words`.
struct PackedPair {
    std::uint32_t scales;
    std::uint32_t minima;
};
VIGIL_DEVICE PackedPair unpack_scales_k(std::uint32_t word0, std::uint32_t word1, std::uint32_t word2, int i) {
    const int shift = 16 * (i & 1);
    const std::uint32_t a = word0 >> shift;
    const std::uint32_t b = word1 >> shift;
    const std::uint32_t c = word2 >> shift;
    if (i < 2) return {a & 0x3f3fu, b & 0x3f3fu};
    return {(c & 0x0f0fu) | (a & 0xc0c0u) >> 2, (c >> 4 & 0x0f0fu) | (b & 0xc0c0u) >> 2};
}

}  // namespace vigil::device
