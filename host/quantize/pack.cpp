#include "host/quantize/pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <string>

#include "host/gguf/block_types.h"
#include "host/gguf/finite.h"
#include "host/gguf/float16.h"
#include "host/quantize/pack_block.h"

namespace vigil::quantize {
namespace {

using gguf::TensorType;

// More than any block can say (Q6_K: 65504 · 128 · 32), and little enough for its cube in FP32.
constexpr float beyond_all_blocks = 0x1p30f;

template <typename Block>
concept Packable = requires(const float* x, Block& block) {
    pack_block(x, block);
};

template <typename Block>
void pack_all(std::span<const float> weights, std::byte* blocks) {
    for (std::size_t i = 0; i < weights.size(); i += Block::n_weights, blocks += sizeof(Block)) {
        Block block;
        pack_block(weights.data() + i, block);
        std::memcpy(blocks, &block, sizeof block);
    }
}

template <std::uint16_t (*convert)(float) noexcept>
void convert_all(std::span<const float> weights, std::byte* values) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const std::uint16_t value = convert(weights[i]);
        std::memcpy(values + i * sizeof value, &value, sizeof value);
    }
}

}  // namespace

bool can_pack(TensorType type) {
    bool packable = true;
    gguf::with_block_of(type, [&]<typename Block>() { packable = Packable<Block>; });
    return packable;
}

void pack(TensorType type, std::span<const float> weights, std::span<std::byte> blocks) {
    const auto& format = gguf::traits(type);
    const auto fail = [&](const std::string& problem) {
        throw gguf::Error(fmt::format("packing {}: {}", format.name, problem));
    };
    if (!can_pack(type)) fail("there is no quantiser for this type");
    if (weights.size() % format.block_weights != 0 ||
        blocks.size() != weights.size() / format.block_weights * format.block_bytes) {
        fail(fmt::format("{} weights do not fill {} bytes, in blocks of {} weights and {} bytes", weights.size(),
                         blocks.size(), format.block_weights, format.block_bytes));
    }
    if (const auto bad = gguf::find_not_finite(TensorType::F32, std::as_bytes(weights))) {
        fail(fmt::format("weight {}: {}", bad->block, bad->what));
    }
    const auto too_large = std::find_if(weights.begin(), weights.end(), [&](float w) {
        return format.block_weights > 1 && std::abs(w) > beyond_all_blocks;
    });
    if (too_large != weights.end()) {
        fail(fmt::format("weight {}: the value {} is too large", too_large - weights.begin(), *too_large));
    }
    const bool has_blocks = gguf::with_block_of(type, [&]<typename Block>() {
        if constexpr (Packable<Block>) pack_all<Block>(weights, blocks.data());
    });
    if (!has_blocks) {
        if (type == TensorType::F16) {
            convert_all<gguf::float_to_half>(weights, blocks.data());
        } else if (type == TensorType::BF16) {
            convert_all<gguf::float_to_bfloat16>(weights, blocks.data());
        } else if (!weights.empty()) {
            std::memcpy(blocks.data(), weights.data(), weights.size_bytes());
        }
    }
    if (const auto bad = gguf::find_not_finite(type, blocks)) {
        fail(fmt::format("the weights from {} on are too large: {}", bad->block * format.block_weights, bad->what));
    }
}

}  // namespace vigil::quantize
