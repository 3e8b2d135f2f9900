// The rules are those of llama_tensor_get_type() in llama.cpp's src/llama-quant.cpp.
#include "bench/synth/type_recipe.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fmt/format.h>
#include <string>

#include "bench/synth/model_spec.h"

namespace vigil::synth {
namespace {

using gguf::TensorType;

constexpr std::array recipe_table{
    TypeRecipe{"F32", TensorType::F32, false, 0},     TypeRecipe{"F16", TensorType::F16, false, 1},
    TypeRecipe{"BF16", TensorType::BF16, false, 32},  TypeRecipe{"Q8_0", TensorType::Q8_0, false, 7},
    TypeRecipe{"Q4_0", TensorType::Q4_0, false, 2},   TypeRecipe{"Q4_1", TensorType::Q4_1, false, 3},
    TypeRecipe{"Q5_0", TensorType::Q5_0, false, 8},   TypeRecipe{"Q5_1", TensorType::Q5_1, false, 9},
    TypeRecipe{"Q4_K", TensorType::Q4_K, false, 14},  TypeRecipe{"Q5_K", TensorType::Q5_K, false, 16},
    TypeRecipe{"Q6_K", TensorType::Q6_K, false, 18},  TypeRecipe{"Q4_K_M", TensorType::Q4_K, true, 15},
    TypeRecipe{"Q5_K_M", TensorType::Q5_K, true, 17},
};

// The layers whose attn_v and ffn_down get more bits: the first and last eighth, and every third between.
bool gets_more_bits(std::uint32_t layer, std::uint32_t n_layers) {
    return layer < n_layers / 8 || layer >= 7 * n_layers / 8 || (layer - n_layers / 8) % 3 == 2;
}

TensorType fall_back(TensorType type, std::uint64_t cols) {
    if (cols % gguf::traits(type).block_weights == 0) return type;
    switch (type) {
        case TensorType::Q4_K:
            return fall_back(TensorType::Q5_0, cols);
        case TensorType::Q5_K:
            return fall_back(TensorType::Q5_1, cols);
        case TensorType::Q6_K:
            return fall_back(TensorType::Q8_0, cols);
        default:
            return TensorType::F16;
    }
}

}  // namespace

std::span<const TypeRecipe> recipes() {
    return recipe_table;
}

const TypeRecipe& find_recipe(std::string_view name) {
    std::string upper(name);
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const auto found = std::find_if(recipe_table.begin(), recipe_table.end(),
                                    [&](const TypeRecipe& recipe) { return recipe.name == upper; });
    if (found != recipe_table.end()) return *found;
    std::string names;
    for (const auto& recipe : recipe_table) names += fmt::format(" {}", recipe.name);
    throw Error(fmt::format("no type is called '{}'; there are:{}", name, names));
}

TensorType choose_type(const TypeRecipe& recipe, Matrix matrix, std::uint32_t layer, std::uint32_t n_layers,
                       std::uint64_t cols) {
    auto type = recipe.base;
    if (recipe.mixture) {
        const bool every_layer = matrix == Matrix::output;
        const bool some_layers = matrix == Matrix::attn_v || matrix == Matrix::ffn_down;
        if (every_layer || (some_layers && gets_more_bits(layer, n_layers))) type = TensorType::Q6_K;
    }
    return fall_back(type, cols);
}

}  // namespace vigil::synth
