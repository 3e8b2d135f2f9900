// Which tensor type each matrix of a model gets: one for all, or one of llama.cpp's mixtures.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "host/gguf/gguf.h"

namespace vigil::synth {

enum class Matrix { embedding, output, attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down };

struct TypeRecipe {
    std::string_view name;    // as llama-quantize spells it
    gguf::TensorType base;    // of every matrix the mixture says nothing of
    bool mixture;             // more bits for the output matrix and for part of attn_v and ffn_down
    std::uint32_t file_type;  // llama.cpp's number for general.file_type
};

std::span<const TypeRecipe> recipes();

// Case does not matter. Throws Error with the names there are if `name` is none of them.
const TypeRecipe& find_recipe(std::string_view name);

// The type of one matrix with `cols` columns. `layer` counts from 0 and is ignored for embedding and output; a tied
// embedding counts as the output. Columns that are no multiple of the block fall back as in llama.cpp's quantize: Q4_K
// to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0, and what is no multiple of 32 to F16.
gguf::TensorType choose_type(const TypeRecipe& recipe, Matrix matrix, std::uint32_t layer, std::uint32_t n_layers,
                             std::uint64_t cols);

}  // namespace vigil::synth
