// What is left of weights after packing and unpacking, and the reference's errors to compare it with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <doctest/doctest.h>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "host/gguf/dequantize.h"
#include "host/quantize/pack.h"

namespace vigil::test {

inline std::vector<std::byte> packed(gguf::TensorType type, std::span<const float> weights) {
    const auto& format = gguf::traits(type);
    std::vector<std::byte> blocks(weights.size() / format.block_weights * format.block_bytes);
    quantize::pack(type, weights, blocks);
    return blocks;
}

inline std::vector<float> round_trip(gguf::TensorType type, std::span<const float> weights) {
    std::vector<float> back(weights.size());
    gguf::dequantize(type, packed(type, weights), back);
    return back;
}

// The root of the mean squared difference.
inline double error_of(std::span<const float> weights, std::span<const float> back) {
    double squares = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const double difference = double(weights[i]) - double(back[i]);
        squares += difference * difference;
    }
    return std::sqrt(squares / double(weights.size()));
}

struct ReferenceError {
    std::string source;  // a distribution or a tensor
    std::string type;
    double rmse;
};

// Lines of golden/reference_errors.txt (make_golden.py).
inline std::vector<ReferenceError> reference_errors() {
    std::ifstream file(VIGIL_TEST_DATA "/quantize/golden/reference_errors.txt");
    std::vector<ReferenceError> errors;
    for (ReferenceError e; file >> e.source >> e.type >> e.rmse;) errors.push_back(e);
    REQUIRE(errors.size() > 50);
    return errors;
}

// Packs and unpacks `weights`: the error is at most 1.05 times the reference's. What the reference packs without error
// may be off by a rounding of FP32.
inline void check_error(const ReferenceError& reference, std::span<const float> weights) {
    CAPTURE(reference.source);
    CAPTURE(reference.type);
    const auto* format = gguf::find_type(reference.type);
    REQUIRE(format != nullptr);
    double largest = 0;
    for (const float w : weights) largest = std::max(largest, std::abs(double(w)));
    const double error = error_of(weights, round_trip(format->type, weights));
    CAPTURE(error);
    CAPTURE(reference.rmse);
    CHECK(error <= 1.05 * reference.rmse + 1e-7 * largest);
}

}  // namespace vigil::test
