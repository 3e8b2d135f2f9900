// Which tensor gets which type. Expected: what llama.cpp's llama_model_quantize writes for the same shapes.
#include "host/quantize/recipe.h"

#include <doctest/doctest.h>
#include <set>
#include <string>
#include <vector>

using namespace vigil;
using gguf::TensorType;
using quantize::ModelOutline;
using quantize::OutputMatrix;

namespace {

constexpr ModelOutline untied_16_layers{.n_layers = 16, .tied = false, .grouped_heads = true};

TensorType type_of(std::string_view recipe, std::string_view name, std::uint64_t cols,
                   const ModelOutline& model = untied_16_layers, OutputMatrix output = OutputMatrix::as_llama_cpp) {
    const auto* found = quantize::find_recipe(recipe);
    REQUIRE(found != nullptr);
    return quantize::choose_type(*found, name, cols, model, output);
}

std::string in_layer(std::uint32_t layer, const char* part) {
    return "blk." + std::to_string(layer) + "." + part + ".weight";
}

}  // namespace

TEST_CASE("recipes are found in any case and nothing else is") {
    CHECK(quantize::find_recipe("q4_k_m")->name == "Q4_K_M");
    CHECK(quantize::find_recipe("Bf16")->base == TensorType::BF16);
    CHECK(quantize::find_recipe("Q4_K_") == nullptr);
    CHECK(quantize::find_recipe("Q4_K_MM") == nullptr);
    CHECK(quantize::find_recipe("") == nullptr);
}

TEST_CASE("the output matrix gets Q6_K under every smaller type, its own under Q8_0 and the floats") {
    for (const char* recipe : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "Q4_K_M", "Q5_K_M"}) {
        CAPTURE(std::string(recipe));
        CHECK(type_of(recipe, "output.weight", 2048) == TensorType::Q6_K);
        CHECK(type_of(recipe, "output.weight", 576) == TensorType::Q8_0);
        const ModelOutline tied{.n_layers = 16, .tied = true, .grouped_heads = true};
        CHECK(type_of(recipe, "token_embd.weight", 2048, tied) == TensorType::Q6_K);
    }
    CHECK(type_of("Q4_0", "token_embd.weight", 2048) == TensorType::Q4_0);
    CHECK(type_of("Q8_0", "output.weight", 2048) == TensorType::Q8_0);
    CHECK(type_of("F16", "output.weight", 2048) == TensorType::F16);
    CHECK(type_of("F32", "output.weight", 2048) == TensorType::F32);
}

TEST_CASE("a pure recipe treats the output matrix as all others, a mixture does not") {
    CHECK(type_of("Q4_0", "output.weight", 2048, untied_16_layers, OutputMatrix::pure) == TensorType::Q4_0);
    CHECK(type_of("Q4_K_M", "output.weight", 2048, untied_16_layers, OutputMatrix::pure) == TensorType::Q6_K);
}

TEST_CASE("the mixtures give more bits to attn_v and ffn_down of the outer layers and of every third between") {
    const std::set<std::uint32_t> with_more{0, 1, 4, 7, 10, 13, 14, 15};
    for (const auto& [recipe, base] : {std::pair{"Q4_K_M", TensorType::Q4_K}, std::pair{"Q5_K_M", TensorType::Q5_K}}) {
        for (std::uint32_t layer = 0; layer < 16; ++layer) {
            CAPTURE(layer);
            const auto expected = with_more.contains(layer) ? TensorType::Q6_K : base;
            CHECK(type_of(recipe, in_layer(layer, "attn_v"), 2048) == expected);
            CHECK(type_of(recipe, in_layer(layer, "ffn_down"), 8192) == expected);
            for (const char* part : {"attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"}) {
                CHECK(type_of(recipe, in_layer(layer, part), 2048) == base);
            }
        }
        CHECK(type_of(recipe, "token_embd.weight", 2048) == base);
    }
}

TEST_CASE("models of the 70B shape get Q5_K for attn_v where Q4_K_M would give Q4_K") {
    const ModelOutline large{.n_layers = 80, .tied = false, .grouped_heads = true};
    CHECK(type_of("Q4_K_M", in_layer(10, "attn_v"), 8192, large) == TensorType::Q5_K);
    CHECK(type_of("Q4_K_M", in_layer(12, "attn_v"), 8192, large) == TensorType::Q6_K);
    CHECK(type_of("Q4_K_M", in_layer(10, "ffn_down"), 8192, large) == TensorType::Q4_K);
    CHECK(type_of("Q5_K_M", in_layer(10, "attn_v"), 8192, large) == TensorType::Q5_K);
    const ModelOutline ungrouped{.n_layers = 80, .tied = false, .grouped_heads = false};
    CHECK(type_of("Q4_K_M", in_layer(10, "attn_v"), 8192, ungrouped) == TensorType::Q4_K);
}

TEST_CASE("columns that no super-block fits fall back to blocks of 32, and then to F16") {
    const auto name = in_layer(3, "attn_q");
    CHECK(type_of("Q4_K", name, 576) == TensorType::Q5_0);
    CHECK(type_of("Q5_K", name, 576) == TensorType::Q5_1);
    CHECK(type_of("Q6_K", name, 576) == TensorType::Q8_0);
    CHECK(type_of("Q2_K", name, 576) == TensorType::Q4_0);
    CHECK(type_of("Q3_K", name, 576) == TensorType::Q4_0);
    CHECK(type_of("IQ4_XS", name, 576) == TensorType::IQ4_NL);
    for (const auto& recipe : quantize::recipes()) {
        const bool is_float = gguf::traits(recipe.base).block_weights == 1;
        CHECK(type_of(recipe.name, name, 100) == (is_float ? recipe.base : TensorType::F16));
    }
}

TEST_CASE("matrices are quantised; norms, biases, routers and vectors are not") {
    const std::vector<std::uint64_t> matrix{256, 512};
    const std::vector<std::uint64_t> experts{256, 512, 8};
    const std::vector<std::uint64_t> vector{256};
    const std::vector<std::uint64_t> flat{256, 1};
    CHECK(quantize::is_quantizable("blk.0.attn_q.weight", matrix));
    CHECK(quantize::is_quantizable("output.weight", matrix));
    CHECK(quantize::is_quantizable("blk.0.ffn_down_exps.weight", experts));
    CHECK_FALSE(quantize::is_quantizable("blk.0.attn_norm.weight", vector));
    CHECK_FALSE(quantize::is_quantizable("blk.0.attn_norm.weight", matrix));
    CHECK_FALSE(quantize::is_quantizable("blk.0.attn_q.weight", flat));
    CHECK_FALSE(quantize::is_quantizable("blk.0.attn_q.bias", matrix));
    CHECK_FALSE(quantize::is_quantizable("blk.0.ffn_gate_inp.weight", matrix));
}
