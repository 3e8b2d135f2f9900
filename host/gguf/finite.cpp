#include "host/gguf/finite.h"

#include <cmath>
#include <cstring>
#include <fmt/format.h>

#include "host/gguf/block_types.h"
#include "host/gguf/cursor.h"
#include "host/gguf/float16.h"

namespace vigil::gguf {
namespace {

constexpr int last_finite_exponent = 252;  // 12 · 2^(252 − 128) is the largest weight below 2^128

// Whole-number tests: the loops over these functions are as fast as the memory.
bool is_finite_half(std::uint16_t bits) {
    return (bits & 0x7c00u) != 0x7c00u;
}
bool is_finite_bfloat16(std::uint16_t bits) {
    return (bits & 0x7f80u) != 0x7f80u;
}
bool is_finite_float(std::uint32_t bits) {
    return (bits & 0x7f800000u) != 0x7f800000u;
}

template <typename Block>
bool is_finite(const Block& block) {
    if constexpr (requires { block.exponent; }) {
        return block.exponent <= last_finite_exponent;
    } else if constexpr (requires { block.m; }) {
        return is_finite_half(block.d) && is_finite_half(block.m);
    } else if constexpr (requires { block.dmin; }) {
        return is_finite_half(block.d) && is_finite_half(block.dmin);
    } else {
        return is_finite_half(block.d);
    }
}

std::string describe_scale(const char* name, std::uint16_t half) {
    return fmt::format("the scale {} is {}", name, half_to_float(half));
}

// What is wrong with a block that is not finite.
template <typename Block>
std::string describe(const Block& block) {
    if constexpr (requires { block.exponent; }) {
        return fmt::format("the exponent is {}, above {}", block.exponent, last_finite_exponent);
    } else {
        if constexpr (requires { block.m; }) {
            if (!is_finite_half(block.m)) return describe_scale("m", block.m);
        } else if constexpr (requires { block.dmin; }) {
            if (!is_finite_half(block.dmin)) return describe_scale("dmin", block.dmin);
        }
        return describe_scale("d", block.d);
    }
}

template <typename Block>
std::optional<NotFinite> find_block(std::span<const std::byte> blocks) {
    for (std::size_t at = 0; at < blocks.size(); at += sizeof(Block)) {
        Block block;
        std::memcpy(&block, blocks.data() + at, sizeof block);
        if (!is_finite(block)) return NotFinite{at / sizeof(Block), describe(block)};
    }
    return std::nullopt;
}

template <typename Bits>
std::optional<NotFinite> find_value(std::span<const std::byte> values, bool (*finite)(Bits), float (*to_float)(Bits)) {
    for (std::size_t at = 0; at < values.size(); at += sizeof(Bits)) {
        Bits bits;
        std::memcpy(&bits, values.data() + at, sizeof bits);
        if (!finite(bits)) return NotFinite{at / sizeof(Bits), fmt::format("the value is {}", to_float(bits))};
    }
    return std::nullopt;
}

float bits_to_float(std::uint32_t bits) {
    return std::bit_cast<float>(bits);
}

}  // namespace

std::optional<NotFinite> find_not_finite(TensorType type, std::span<const std::byte> blocks) {
    std::optional<NotFinite> found;
    if (with_block_of(type, [&]<typename Block>() { found = find_block<Block>(blocks); })) return found;
    if (type == TensorType::F16) return find_value<std::uint16_t>(blocks, is_finite_half, half_to_float);
    if (type == TensorType::BF16) return find_value<std::uint16_t>(blocks, is_finite_bfloat16, bfloat16_to_float);
    return find_value<std::uint32_t>(blocks, is_finite_float, bits_to_float);
}

void require_finite(const File& file, const TensorInfo& tensor, std::uint64_t first_block,
                    std::span<const std::byte> blocks) {
    if (const auto found = find_not_finite(tensor.type, blocks)) {
        const auto& format = traits(tensor.type);
        throw file.error(fmt::format("tensor {}: {} {} of type {}: {}", in_quotes(tensor.name),
                                     format.block_weights == 1 ? "weight" : "block", first_block + found->block,
                                     format.name, found->what));
    }
}

}  // namespace vigil::gguf
