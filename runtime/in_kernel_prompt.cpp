#include "runtime/in_kernel_prompt.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

namespace vigil {
namespace {

// On the CPU nothing is launched; what prefill saves is reading the weights once instead of once per token.
constexpr std::int32_t kOnCpu = 8;
constexpr double kParkAndLaunchMs = 1.2;  // measured on an H200: prefill of 20 tokens takes 1.5 to 2 ms
constexpr double kExchangesMs = 0.08;     // of a token, beside reading the weights
constexpr std::int32_t kMost = 32;

// GB/s that decoding reaches, by the class of GPU.
double bandwidth(std::string_view architecture) {
    constexpr std::pair<std::string_view, double> kClasses[] = {{"sm_9", 4000.0}, {"sm_8", 1400.0}};
    for (const auto& [prefix, gb_per_s] : kClasses)
        if (architecture.starts_with(prefix)) return gb_per_s;
    return 250.0;
}

}  // namespace

std::int32_t in_kernel_prompt(const host::DeviceInfo& device, std::size_t weight_bytes) {
    if (!device.is_cuda) return kOnCpu;
    const double pass_ms = kExchangesMs + static_cast<double>(weight_bytes) / (1e6 * bandwidth(device.architecture));
    return std::min(kMost, 1 + static_cast<std::int32_t>(std::floor(kParkAndLaunchMs / pass_ms)));
}

}  // namespace vigil
