#include "host/gguf/dequantize.h"

#include <cstring>
#include <fmt/format.h>

#include "host/gguf/block_types.h"
#include "host/gguf/blocks.h"

namespace vigil::gguf {
namespace {

// One overload of unpack() per block: writes the weights of `block` to `out`. The order of the operations is ggml's,
// because the last bit depends on it.

void unpack(const BlockQ4_0& block, float* out) {
    const float d = half_to_float(block.d);
    for (int j = 0; j < 16; ++j) {
        out[j] = d * static_cast<float>((block.nibbles[j] & 15) - 8);
        out[j + 16] = d * static_cast<float>((block.nibbles[j] >> 4) - 8);
    }
}

void unpack(const BlockQ4_1& block, float* out) {
    const float d = half_to_float(block.d);
    const float m = half_to_float(block.m);
    for (int j = 0; j < 16; ++j) {
        out[j] = d * static_cast<float>(block.nibbles[j] & 15) + m;
        out[j + 16] = d * static_cast<float>(block.nibbles[j] >> 4) + m;
    }
}

// Quants 0 to 31 of a Q5_0 or Q5_1 block.
template <typename Block>
void join_fifth_bits(const Block& block, std::int32_t (&quants)[32]) {
    std::uint32_t fifth;
    std::memcpy(&fifth, block.fifth_bits, sizeof fifth);
    for (int j = 0; j < 16; ++j) {
        quants[j] = static_cast<std::int32_t>((block.nibbles[j] & 15u) | (((fifth >> j) & 1u) << 4));
        quants[j + 16] = static_cast<std::int32_t>((block.nibbles[j] >> 4) | (((fifth >> (j + 16)) & 1u) << 4));
    }
}

void unpack(const BlockQ5_0& block, float* out) {
    const float d = half_to_float(block.d);
    std::int32_t quants[32];
    join_fifth_bits(block, quants);
    for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(quants[j] - 16);
}

void unpack(const BlockQ5_1& block, float* out) {
    const float d = half_to_float(block.d);
    const float m = half_to_float(block.m);
    std::int32_t quants[32];
    join_fifth_bits(block, quants);
    for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(quants[j]) + m;
}

void unpack(const BlockQ8_0& block, float* out) {
    const float d = half_to_float(block.d);
    for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(block.q[j]);
}

void unpack(const BlockQ2_K& block, float* out) {
    const float d = half_to_float(block.d);
    const float dmin = half_to_float(block.dmin);
    for (int group = 0; group < 16; ++group) {
        const std::uint8_t* quants = block.quants + group / 8 * 32 + group % 2 * 16;
        const int shift = group % 8 / 2 * 2;
        const float scale = d * static_cast<float>(block.scales[group] & 15);
        const float minimum = dmin * static_cast<float>(block.scales[group] >> 4);
        float* weights = out + group * 16;
        for (int j = 0; j < 16; ++j) weights[j] = scale * static_cast<float>((quants[j] >> shift) & 3) - minimum;
    }
}

void unpack(const BlockQ3_K& block, float* out) {
    const float d = half_to_float(block.d);
    for (int group = 0; group < 16; ++group) {
        const std::uint8_t* quants = block.quants + group / 8 * 32 + group % 2 * 16;
        const std::uint8_t* third = block.third_bits + group % 2 * 16;
        const int shift = group % 8 / 2 * 2;
        const float scale = d * static_cast<float>(block.scale(group));
        float* weights = out + group * 16;
        for (int j = 0; j < 16; ++j) {
            const int quant = ((quants[j] >> shift) & 3) | (((third[j] >> (group / 2)) & 1) << 2);
            weights[j] = scale * static_cast<float>(quant - 4);
        }
    }
}

void unpack(const BlockQ4_K& block, float* out) {
    const float d = half_to_float(block.d);
    const float dmin = half_to_float(block.dmin);
    for (int group = 0; group < 8; group += 2) {
        const std::uint8_t* nibbles = block.nibbles + group * 16;
        const float low_scale = d * static_cast<float>(block.scales.scale(group));
        const float low_min = dmin * static_cast<float>(block.scales.minimum(group));
        const float high_scale = d * static_cast<float>(block.scales.scale(group + 1));
        const float high_min = dmin * static_cast<float>(block.scales.minimum(group + 1));
        float* weights = out + group * 32;
        for (int j = 0; j < 32; ++j) weights[j] = low_scale * static_cast<float>(nibbles[j] & 15) - low_min;
        for (int j = 0; j < 32; ++j) weights[j + 32] = high_scale * static_cast<float>(nibbles[j] >> 4) - high_min;
    }
}

void unpack(const BlockQ5_K& block, float* out) {
    const float d = half_to_float(block.d);
    const float dmin = half_to_float(block.dmin);
    for (int group = 0; group < 8; ++group) {
        const std::uint8_t* nibbles = block.nibbles + group / 2 * 32;
        const int shift = group % 2 * 4;
        const float scale = d * static_cast<float>(block.scales.scale(group));
        const float minimum = dmin * static_cast<float>(block.scales.minimum(group));
        float* weights = out + group * 32;
        for (int j = 0; j < 32; ++j) {
            const int quant = ((nibbles[j] >> shift) & 15) | (((block.fifth_bits[j] >> group) & 1) << 4);
            weights[j] = scale * static_cast<float>(quant) - minimum;
        }
    }
}

void unpack(const BlockQ6_K& block, float* out) {
    const float d = half_to_float(block.d);
    for (int row = 0; row < 8; ++row) {  // 32 weights each
        const int half = row / 4;
        const std::uint8_t* nibbles = block.nibbles + half * 64 + row % 2 * 32;
        const std::uint8_t* upper = block.upper_bits + half * 32;
        const int nibble_shift = row % 4 / 2 * 4;
        const int upper_shift = row % 4 * 2;
        for (int group = 0; group < 2; ++group) {
            const float scale = d * static_cast<float>(block.scales[row * 2 + group]);
            for (int j = group * 16; j < group * 16 + 16; ++j) {
                const int quant = ((nibbles[j] >> nibble_shift) & 15) | (((upper[j] >> upper_shift) & 3) << 4);
                out[row * 32 + j] = scale * static_cast<float>(quant - 32);
            }
        }
    }
}

// 32 weights whose 4-bit quants are numbers of entries in `values`.
void look_up(const std::uint8_t* nibbles, const std::int8_t (&values)[16], float scale, float* out) {
    for (int j = 0; j < 16; ++j) {
        out[j] = scale * static_cast<float>(values[nibbles[j] & 15]);
        out[j + 16] = scale * static_cast<float>(values[nibbles[j] >> 4]);
    }
}

void unpack(const BlockIQ4_NL& block, float* out) {
    look_up(block.nibbles, iq4_values, half_to_float(block.d), out);
}

void unpack(const BlockIQ4_XS& block, float* out) {
    const float d = half_to_float(block.d);
    for (int group = 0; group < 8; ++group) {
        look_up(block.nibbles + group * 16, iq4_values, d * static_cast<float>(block.scale(group)), out + group * 32);
    }
}

void unpack(const BlockMXFP4& block, float* out) {
    look_up(block.nibbles, mxfp4_doubled_values, mxfp4_scale(block.exponent), out);
}

// Blocks are copied out first: a caller's span need not be aligned. The compiler makes plain loads of it.
template <typename Block>
void unpack_all(const std::byte* blocks, std::span<float> out) {
    for (std::size_t i = 0; i < out.size(); i += Block::n_weights, blocks += sizeof(Block)) {
        Block block;
        std::memcpy(&block, blocks, sizeof block);
        unpack(block, out.data() + i);
    }
}

template <float (*convert)(std::uint16_t) noexcept>
void convert_all(const std::byte* values, std::span<float> out) {
    for (std::size_t i = 0; i < out.size(); ++i) {
        std::uint16_t value;
        std::memcpy(&value, values + i * sizeof value, sizeof value);
        out[i] = convert(value);
    }
}

}  // namespace

void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<float> out) {
    const auto& format = traits(type);
    if (out.size() % format.block_weights != 0) {
        throw Error(fmt::format("dequantize: {} weights are no multiple of the {} weights in a block of {}", out.size(),
                                format.block_weights, format.name));
    }
    if (blocks.size() / format.block_bytes < out.size() / format.block_weights) {
        throw Error(fmt::format("dequantize: {} weights of {} need more than the {} bytes given", out.size(),
                                format.name, blocks.size()));
    }
    if (with_block_of(type, [&]<typename Block>() { unpack_all<Block>(blocks.data(), out); })) return;
    if (type == TensorType::F16) {
        convert_all<half_to_float>(blocks.data(), out);
    } else if (type == TensorType::BF16) {
        convert_all<bfloat16_to_float>(blocks.data(), out);
    } else if (!out.empty()) {
        std::memcpy(out.data(), blocks.data(), out.size_bytes());
    }
}

}  // namespace vigil::gguf
