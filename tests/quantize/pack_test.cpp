// Packing at the edges: zeros, constants, the least and the largest numbers, and what is refused.
#include "host/quantize/pack.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <limits>
#include <numbers>
#include <vector>

#include "host/gguf/finite.h"
#include "tests/quantize/round_trip.h"

using namespace vigil;
using namespace vigil::test;
using doctest::Contains;
using gguf::TensorType;

namespace {

constexpr TensorType block_types[] = {TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q5_0,
                                      TensorType::Q5_1, TensorType::Q4_K, TensorType::Q5_K, TensorType::Q6_K};

// Two super-blocks of a wave whose height grows, so that groups and blocks differ.
std::vector<float> wave(float height) {
    std::vector<float> weights(512);
    for (std::size_t i = 0; i < weights.size(); ++i) {
        weights[i] = height * std::sin(float(i) * 0.7f) * (0.2f + float(i) / 512);
    }
    return weights;
}

}  // namespace

TEST_CASE("the types that can be packed are those of the command") {
    for (const auto type : block_types) CHECK(quantize::can_pack(type));
    for (const auto type : {TensorType::F32, TensorType::F16, TensorType::BF16}) CHECK(quantize::can_pack(type));
    for (const auto type :
         {TensorType::Q2_K, TensorType::Q3_K, TensorType::IQ4_NL, TensorType::IQ4_XS, TensorType::MXFP4}) {
        CHECK_FALSE(quantize::can_pack(type));
    }
}

TEST_CASE("zeros stay zeros") {
    const std::vector<float> zeros(512, 0.0f);
    for (const auto type : block_types) {
        CAPTURE(gguf::traits(type).name);
        CHECK(round_trip(type, zeros) == zeros);
    }
}

TEST_CASE("a block of one number keeps it") {
    for (const float value : {1.0f, -1.0f, 0.37f, -0.37f}) {
        const std::vector<float> alike(512, value);
        for (const auto type : block_types) {
            CAPTURE(gguf::traits(type).name);
            CAPTURE(value);
            for (const float back : round_trip(type, alike)) REQUIRE(back == doctest::Approx(value).epsilon(0.002));
        }
    }
}

TEST_CASE("whole numbers in the range of the quants come back as they are") {
    std::vector<float> weights(512);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = float(i % 16) - 8;
    for (const auto type : {TensorType::Q4_0, TensorType::Q4_1, TensorType::Q5_0}) {
        CAPTURE(gguf::traits(type).name);
        CHECK(round_trip(type, weights) == weights);
    }
}

TEST_CASE("the error shrinks with the bits, at any scale that half can hold") {
    for (const float height : {1e-2f, 1.0f, 1e3f, 3e4f}) {
        const auto weights = wave(height);
        CAPTURE(height);
        const auto error = [&](TensorType type) { return error_of(weights, round_trip(type, weights)) / height; };
        CHECK(error(TensorType::Q8_0) < 0.002);
        CHECK(error(TensorType::Q6_K) < 0.008);
        CHECK(error(TensorType::Q5_K) < 0.014);
        CHECK(error(TensorType::Q5_1) < 0.014);
        CHECK(error(TensorType::Q5_0) < 0.015);
        CHECK(error(TensorType::Q4_K) < 0.025);
        CHECK(error(TensorType::Q4_1) < 0.025);
        CHECK(error(TensorType::Q4_0) < 0.03);
        CHECK(error(TensorType::Q8_0) < error(TensorType::Q6_K));
        CHECK(error(TensorType::Q6_K) < error(TensorType::Q5_K));
        CHECK(error(TensorType::Q5_K) < error(TensorType::Q4_K));
    }
}

TEST_CASE("weights too small for a scale in half become zeros or stay as near as zero is") {
    for (const float height : {1e-6f, 1e-8f, 1e-20f, 1e-38f, std::numeric_limits<float>::denorm_min()}) {
        const auto weights = wave(height);
        for (const auto type : block_types) {
            CAPTURE(gguf::traits(type).name);
            CAPTURE(height);
            const auto back = round_trip(type, weights);
            CHECK(error_of(weights, back) <= error_of(weights, std::vector<float>(512, 0.0f)) + 3e-8);
        }
    }
}

TEST_CASE("weights too large for a scale in half are refused with place and value") {
    for (const auto type : block_types) {
        CAPTURE(gguf::traits(type).name);
        for (const float large : {3e8f, 1e30f, std::numeric_limits<float>::max()}) {
            auto weights = wave(1);
            weights[300] = -large;
            CHECK_THROWS_WITH_AS(packed(type, weights), Contains("too large"), gguf::Error);
        }
    }
    auto weights = wave(1);
    weights[300] = 70000;
    CHECK_THROWS_WITH_AS(packed(TensorType::F16, weights), Contains("from 300 on are too large"), gguf::Error);
    CHECK(round_trip(TensorType::F32, weights) == weights);
}

TEST_CASE("infinite and NaN weights are refused with their place") {
    for (const auto type : block_types) {
        for (const float bad : {INFINITY, -INFINITY, NAN}) {
            auto weights = wave(1);
            weights[511] = bad;
            CHECK_THROWS_WITH_AS(packed(type, weights), Contains("weight 511: the value is"), gguf::Error);
        }
    }
}

TEST_CASE("packing refuses what does not fit") {
    std::vector<float> weights(256, 1.0f);
    std::vector<std::byte> blocks(144);
    const auto pack = [&](TensorType type, std::size_t n_weights, std::size_t n_bytes) {
        quantize::pack(type, std::span(weights).first(n_weights), std::span(blocks).first(n_bytes));
    };
    CHECK_NOTHROW(pack(TensorType::Q4_K, 256, 144));
    CHECK_NOTHROW(pack(TensorType::Q4_K, 0, 0));
    CHECK_THROWS_WITH_AS(pack(TensorType::Q4_K, 255, 144), Contains("255 weights do not fill 144 bytes"), gguf::Error);
    CHECK_THROWS_WITH_AS(pack(TensorType::Q8_0, 32, 33), Contains("32 weights do not fill 33 bytes"), gguf::Error);
    CHECK_THROWS_WITH_AS(pack(TensorType::IQ4_NL, 32, 18), Contains("no quantiser"), gguf::Error);
}

TEST_CASE("every block depends on its own weights alone") {
    const auto weights = wave(1);
    for (const auto type : block_types) {
        CAPTURE(gguf::traits(type).name);
        const auto both = packed(type, weights);
        auto halves = packed(type, std::span(weights).first(256));
        const auto second = packed(type, std::span(weights).subspan(256));
        halves.insert(halves.end(), second.begin(), second.end());
        CHECK(both == halves);
    }
}
