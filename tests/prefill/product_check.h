// What the tests of prefill's products share.
#pragma once

#include <cmath>
#include <cstddef>
#include <doctest/doctest.h>
#include <random>
#include <vector>

#include "device/prefill_launch.h"
#include "tests/reference/test_device.h"

namespace vigil::test {

inline std::vector<float> random_floats(std::size_t n, unsigned seed, float spread = 1.0f) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> distribution(0.0f, spread);
    std::vector<float> values(n);
    for (float& v : values) v = distribution(generator);
    return values;
}

// Floats behind each row of a product's result, and what they hold before and must hold after it.
inline constexpr int kStridePadding = 3;
inline constexpr float kUntouched = -77.0f;

// The error of FP32 sums of exact products, relative to the magnitudes of their terms.
inline constexpr double kProductTolerance = 2e-6;

// The largest error of got [n_tokens …, rows + kStridePadding] (+)= inputs [n_tokens, cols] · weights [rows, cols]ᵀ,
// judged in double; `before` is what was there, and whatever lies beside the result must have stayed kUntouched, else
// the error is beyond all bounds.
inline double worst_product_error(const std::vector<float>& got, const std::vector<float>& before,
                                  const std::vector<float>& inputs, const std::vector<float>& weights,
                                  std::size_t n_tokens, std::size_t rows, std::size_t cols, bool add) {
    double worst = 0.0;
    const std::size_t stride = rows + kStridePadding;
    for (std::size_t at = 0; at < got.size(); ++at) {
        const std::size_t t = at / stride;
        const std::size_t r = at % stride;
        if (t >= n_tokens || r >= rows) {
            if (got[at] != kUntouched) return HUGE_VAL;
            continue;
        }
        double expected = add ? static_cast<double>(before[at]) : 0.0;
        double magnitude = std::abs(expected);
        for (std::size_t c = 0; c < cols; ++c) {
            const double term = static_cast<double>(inputs[t * cols + c]) * static_cast<double>(weights[r * cols + c]);
            expected += term;
            magnitude += std::abs(term);
        }
        const double error = std::abs(static_cast<double>(got[at]) - expected) / magnitude;
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

// Loads the kernels for tensor cores; says so if the device under test has none.
inline bool prepare_tensor_cores() {
    if (!reference::test_device().info().is_cuda || !device::cuda::has_tensor_cores()) {
        MESSAGE("the device under test has no tensor cores");
        return false;
    }
    REQUIRE(device::cuda::prepare_prefill() == 0);
    return true;
}

}  // namespace vigil::test
