// Which tensor type each tensor of a model gets: one for all, or one of llama.cpp's mixtures.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "host/gguf/gguf.h"

namespace vigil::quantize {

struct Recipe {
    std::string_view name;    // as llama-quantize spells it
    gguf::TensorType base;    // of every matrix that no rule says anything else of
    bool mixture;             // more bits for part of attn_v and ffn_down
    std::uint32_t file_type;  // llama.cpp's number for general.file_type
};

// Every type of TensorType and the mixtures Q4_K_M and Q5_K_M.
std::span<const Recipe> recipes();

// Case does not matter; nullptr if there is none.
const Recipe* find_recipe(std::string_view name);

// What the rules ask about a model besides the tensor at hand.
struct ModelOutline {
    std::uint32_t n_layers;
    bool tied;           // no output.weight: token_embd.weight is the output matrix too
    bool grouped_heads;  // several query heads share a KV head
};

// The output matrix has the last word on every logit: llama.cpp gives it Q6_K under every quantised type but Q8_0. A
// pure recipe does not, unless it is a mixture.
enum class OutputMatrix { as_llama_cpp, pure };

// The type of the matrix called `name`, which has `cols` columns. Columns that are no multiple of the block fall back
// as in llama.cpp: Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0, Q2_K and Q3_K to Q4_0, IQ4_XS to IQ4_NL; what is no
// multiple of 32 becomes F16.
gguf::TensorType choose_type(const Recipe& recipe, std::string_view name, std::uint64_t cols, const ModelOutline& model,
                             OutputMatrix output);

// Whether a tensor is a matrix to be quantised at all: norms, biases and other vectors stay as they are.
bool is_quantizable(std::string_view name, std::span<const std::uint64_t> dims);

}  // namespace vigil::quantize
