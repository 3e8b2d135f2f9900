// SmolLM2-135M-Instruct, Q4_1, as published. Expected numbers: the `gguf` Python package's GGUFReader and dequantize().
#include <cmath>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <vector>

#include "host/gguf/dequantize.h"
#include "host/gguf/gguf.h"

using namespace vigil;

namespace {

// Exits with CTest's code for a skipped test if the model is not there.
gguf::File open_model() {
    const char* from_environment = std::getenv("VIGIL_MODEL");
    const std::filesystem::path path =
        from_environment != nullptr ? from_environment : VIGIL_TEST_DATA "/../models/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!std::filesystem::exists(path)) {
        std::cerr << "skipped: no model at " << path << "; VIGIL_MODEL names another place\n";
        std::exit(77);
    }
    return gguf::File::open(path);
}

struct Sums {
    double sum;
    double squares;
    float first;
    float last;
};

Sums sums(const gguf::TensorInfo& tensor) {
    std::vector<float> weights(tensor.cols() * tensor.rows());
    gguf::dequantize(tensor.type, tensor.data, weights);
    Sums result{0, 0, weights.front(), weights.back()};
    for (const double weight : weights) {
        result.sum += weight;
        result.squares += weight * weight;
    }
    return result;
}

}  // namespace

TEST_CASE("the real model's metadata is what the reference reads") {
    const auto file = open_model();
    CHECK(file.version() == 3);
    CHECK(file.metadata().size() == 33);
    CHECK(file.require_string("general.architecture") == "llama");
    CHECK(file.require_u32("llama.block_count") == 30);
    CHECK(file.require_u32("llama.attention.head_count_kv") == 3);
    CHECK(file.require_f32("llama.rope.freq_base") == 100000.0f);
    CHECK_FALSE(file.get_bool("tokenizer.ggml.add_bos_token", true));
    CHECK(file.require_string("tokenizer.chat_template").size() == 368);
    const auto& tokens = file.require_array("tokenizer.ggml.tokens");
    REQUIRE(tokens.size() == 49152);
    CHECK(tokens.string(1000) == "()");
    CHECK(tokens.string(49151) == "ectable");
    const auto& merges = file.require_array("tokenizer.ggml.merges");
    REQUIRE(merges.size() == 48900);
    CHECK(merges.string(0) == "Ġ t");
    CHECK(file.require_array("tokenizer.ggml.token_type").integer(0) == 3);
}

TEST_CASE("the real model's tensors unpack to the reference's weights") {
    const auto file = open_model();
    CHECK(file.tensors().size() == 272);
    CHECK(file.tensor_bytes() == 96576768);
    const struct {
        std::string name;
        gguf::TensorType type;
        std::uint64_t cols, rows;
        Sums expected;
    } cases[] = {
        {"token_embd.weight",
         gguf::TensorType::Q8_0,
         576,
         49152,
         {-15353.04449415207, 520415.71544763993, -0.10654449462890625f, -0.0417022705078125f}},
        {"blk.29.attn_v.weight",
         gguf::TensorType::Q4_1,
         576,
         192,
         {-23.565185546875, 9188.002153100446, 0.1417236328125f, 0.05322265625f}},
        {"blk.7.ffn_down.weight",
         gguf::TensorType::Q4_1,
         1536,
         576,
         {-198.9853515625, 31404.29622159945, -0.127593994140625f, 0.05706787109375f}},
        {"output_norm.weight",
         gguf::TensorType::F32,
         576,
         1,
         {1038.33203125, 1921.7355499267578, 1.7578125f, 1.984375f}},
    };
    for (const auto& test : cases) {
        CAPTURE(test.name);
        const auto& tensor = file.require_tensor(test.name);
        CHECK(tensor.type == test.type);
        CHECK(tensor.cols() == test.cols);
        CHECK(tensor.rows() == test.rows);
        const auto found = sums(tensor);
        // NumPy adds in another order.
        CHECK(found.sum == doctest::Approx(test.expected.sum).epsilon(1e-10));
        CHECK(found.squares == doctest::Approx(test.expected.squares).epsilon(1e-10));
        CHECK(found.first == test.expected.first);
        CHECK(found.last == test.expected.last);
    }
}
