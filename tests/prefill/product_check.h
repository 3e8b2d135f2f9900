// What the tests of prefill's products share.
#pragma once

#include <cstddef>
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

inline bool has_tensor_cores() {
    return reference::test_device().info().is_cuda && device::cuda::has_tensor_cores();
}

}  // namespace vigil::test
