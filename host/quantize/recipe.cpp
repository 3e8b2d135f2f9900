// The rules are those of src/llama-quant.cpp in llama.cpp (llama_tensor_get_type_impl, tensor_type_fallback and
// tensor_allows_quantization), as far as they concern dense models without an importance matrix.
#include "host/quantize/recipe.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace vigil::quantize {
namespace {

using gguf::TensorType;

// llama.cpp numbers mixtures: a plain K type has the number of the smallest one it is the base of (Q4_K: Q4_K_S), MXFP4
// that of the one for models with experts.
constexpr std::array recipe_table{
    Recipe{"F32", TensorType::F32, false, 0},        Recipe{"F16", TensorType::F16, false, 1},
    Recipe{"BF16", TensorType::BF16, false, 32},     Recipe{"Q8_0", TensorType::Q8_0, false, 7},
    Recipe{"Q4_0", TensorType::Q4_0, false, 2},      Recipe{"Q4_1", TensorType::Q4_1, false, 3},
    Recipe{"Q5_0", TensorType::Q5_0, false, 8},      Recipe{"Q5_1", TensorType::Q5_1, false, 9},
    Recipe{"Q2_K", TensorType::Q2_K, false, 10},     Recipe{"Q3_K", TensorType::Q3_K, false, 11},
    Recipe{"Q4_K", TensorType::Q4_K, false, 14},     Recipe{"Q5_K", TensorType::Q5_K, false, 16},
    Recipe{"Q6_K", TensorType::Q6_K, false, 18},     Recipe{"IQ4_NL", TensorType::IQ4_NL, false, 25},
    Recipe{"IQ4_XS", TensorType::IQ4_XS, false, 30}, Recipe{"MXFP4", TensorType::MXFP4, false, 38},
    Recipe{"Q4_K_M", TensorType::Q4_K, true, 15},    Recipe{"Q5_K_M", TensorType::Q5_K, true, 17},
};

// The layers whose attn_v and ffn_down get more bits: the first and last eighth, and every third between.
bool gets_more_bits(std::uint32_t layer, std::uint32_t n_layers) {
    return layer < n_layers / 8 || layer >= 7 * n_layers / 8 || (layer - n_layers / 8) % 3 == 2;
}

// Of "blk.12.attn_v.weight"; 0 for a name that has none.
std::uint32_t layer_of(std::string_view name) {
    constexpr std::string_view prefix = "blk.";
    std::uint32_t layer = 0;
    if (name.starts_with(prefix)) std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer);
    return layer;
}

TensorType fall_back(TensorType type, std::uint64_t cols) {
    if (cols % gguf::traits(type).block_weights == 0) return type;
    switch (type) {
        case TensorType::Q2_K:
        case TensorType::Q3_K:
            return fall_back(TensorType::Q4_0, cols);
        case TensorType::Q4_K:
            return fall_back(TensorType::Q5_0, cols);
        case TensorType::Q5_K:
            return fall_back(TensorType::Q5_1, cols);
        case TensorType::Q6_K:
            return fall_back(TensorType::Q8_0, cols);
        case TensorType::IQ4_XS:
            return fall_back(TensorType::IQ4_NL, cols);
        default:
            return TensorType::F16;
    }
}

TensorType choose_in_mixture(const Recipe& recipe, std::string_view name, const ModelOutline& model) {
    const bool is_value = name.ends_with(".attn_v.weight");
    const bool is_down = name.ends_with(".ffn_down.weight");
    if ((is_value || is_down) && gets_more_bits(layer_of(name), model.n_layers)) return TensorType::Q6_K;
    // In models of the 70B shape eight query heads share a value head, which makes more bits cheap.
    const bool is_70b = model.n_layers == 80 && model.grouped_heads;
    if (is_value && is_70b && recipe.base == TensorType::Q4_K) return TensorType::Q5_K;
    return recipe.base;
}

}  // namespace

std::span<const Recipe> recipes() {
    return recipe_table;
}

const Recipe* find_recipe(std::string_view name) {
    const auto same = [](char a, char b) { return a == std::toupper(static_cast<unsigned char>(b)); };
    const auto found = std::find_if(recipe_table.begin(), recipe_table.end(), [&](const Recipe& recipe) {
        return std::equal(recipe.name.begin(), recipe.name.end(), name.begin(), name.end(), same);
    });
    return found == recipe_table.end() ? nullptr : &*found;
}

TensorType choose_type(const Recipe& recipe, std::string_view name, std::uint64_t cols, const ModelOutline& model,
                       OutputMatrix output) {
    const bool is_quantised = gguf::traits(recipe.base).block_weights > 1;
    const bool is_output = name == "output.weight" || (model.tied && name == "token_embd.weight");
    auto type = recipe.base;
    if (is_output) {
        const bool keeps_base = !is_quantised || recipe.base == TensorType::Q8_0;
        const bool pure = output == OutputMatrix::pure && !recipe.mixture;
        if (!keeps_base && !pure) type = TensorType::Q6_K;
    } else if (recipe.mixture) {
        type = choose_in_mixture(recipe, name, model);
    }
    return fall_back(type, cols);
}

bool is_quantizable(std::string_view name, std::span<const std::uint64_t> dims) {
    const bool is_vector = std::all_of(dims.begin() + 1, dims.end(), [](std::uint64_t dim) { return dim == 1; });
    return !is_vector && name.ends_with("weight") && !name.ends_with("_norm.weight") &&
           !name.ends_with("ffn_gate_inp.weight");
}

}  // namespace vigil::quantize
