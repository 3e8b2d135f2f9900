// Unpacking against golden data of the `gguf` Python package (make_golden.py), bit for bit.
#include "host/gguf/dequantize.h"

#include <cstring>
#include <doctest/doctest.h>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using namespace vigil;
using gguf::TensorType;

namespace {

constexpr TensorType all_types[] = {
    TensorType::F32,  TensorType::F16,    TensorType::BF16,   TensorType::Q4_0,  TensorType::Q4_1, TensorType::Q5_0,
    TensorType::Q5_1, TensorType::Q8_0,   TensorType::Q2_K,   TensorType::Q3_K,  TensorType::Q4_K, TensorType::Q5_K,
    TensorType::Q6_K, TensorType::IQ4_NL, TensorType::IQ4_XS, TensorType::MXFP4,
};

struct Golden {
    std::vector<std::byte> blocks;
    std::vector<float> weights;
};

Golden read_golden(const gguf::TypeTraits& type) {
    const std::string path = std::string(VIGIL_TEST_DATA "/gguf/golden/") + std::string(type.name) + ".bin";
    std::ifstream file(path, std::ios::binary);
    REQUIRE_MESSAGE(file, path);
    std::uint32_t n_weights = 0;
    file.read(reinterpret_cast<char*>(&n_weights), sizeof n_weights);
    REQUIRE(n_weights % type.block_weights == 0);
    Golden golden{std::vector<std::byte>(n_weights / type.block_weights * type.block_bytes),
                  std::vector<float>(n_weights)};
    file.read(reinterpret_cast<char*>(golden.blocks.data()), static_cast<std::streamsize>(golden.blocks.size()));
    file.read(reinterpret_cast<char*>(golden.weights.data()), n_weights * std::streamsize{sizeof(float)});
    REQUIRE_MESSAGE(file, path);
    return golden;
}

}  // namespace

TEST_CASE("every type unpacks to the reference's bits") {
    for (const auto type : all_types) {
        const auto& traits = gguf::traits(type);
        CAPTURE(traits.name);
        const auto golden = read_golden(traits);
        REQUIRE(golden.weights.size() >= 128);
        std::vector<float> weights(golden.weights.size());
        gguf::dequantize(type, golden.blocks, weights);
        for (std::size_t i = 0; i < weights.size(); ++i) {
            CAPTURE(i);
            REQUIRE(std::bit_cast<std::uint32_t>(weights[i]) == std::bit_cast<std::uint32_t>(golden.weights[i]));
        }
    }
}

TEST_CASE("blocks at an odd address unpack to the same bits") {
    const auto& traits = gguf::traits(TensorType::Q6_K);
    const auto golden = read_golden(traits);
    std::vector<std::byte> shifted(golden.blocks.size() + 1);
    std::memcpy(shifted.data() + 1, golden.blocks.data(), golden.blocks.size());
    std::vector<float> weights(golden.weights.size());
    gguf::dequantize(TensorType::Q6_K, std::span(shifted).subspan(1), weights);
    CHECK(std::memcmp(weights.data(), golden.weights.data(), weights.size() * sizeof(float)) == 0);
}

TEST_CASE("unpacking refuses what it cannot do") {
    std::vector<std::byte> blocks(210);
    std::vector<float> weights(256);
    const auto unpack = [&](TensorType type, std::size_t bytes, std::size_t count) {
        gguf::dequantize(type, std::span(blocks).first(bytes), std::span(weights).first(count));
    };
    CHECK_NOTHROW(unpack(TensorType::Q6_K, 210, 256));
    CHECK_NOTHROW(unpack(TensorType::F32, 0, 0));
    CHECK_THROWS_WITH_AS(unpack(TensorType::Q6_K, 209, 256), doctest::Contains("more than the 209 bytes"), gguf::Error);
    CHECK_THROWS_WITH_AS(unpack(TensorType::Q8_0, 210, 33), doctest::Contains("no multiple of the 32"), gguf::Error);
    CHECK_THROWS_WITH_AS(unpack(TensorType::F16, 1, 1), doctest::Contains("more than the 1 bytes"), gguf::Error);
    CHECK_THROWS_WITH_AS(unpack(TensorType::MXFP4, 33, 64), doctest::Contains("more than the 33 bytes"), gguf::Error);
    CHECK_THROWS_WITH_AS(unpack(static_cast<TensorType>(77), 4, 1), doctest::Contains("77"), gguf::Error);
}

TEST_CASE("types are found by number and by name in any case") {
    CHECK(gguf::find_type(12u)->name == "Q4_K");
    CHECK(gguf::find_type("q4_k")->type == TensorType::Q4_K);
    CHECK(gguf::find_type("bf16")->type == TensorType::BF16);
    CHECK(gguf::find_type(4u) == nullptr);
    CHECK(gguf::find_type(0xffffffffu) == nullptr);
    CHECK(gguf::find_type("Q4_KX") == nullptr);
    CHECK(gguf::find_type("") == nullptr);
}
