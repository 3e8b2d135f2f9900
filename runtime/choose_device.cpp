#include "runtime/choose_device.h"

#include <charconv>
#include <fmt/format.h>

namespace vigil {
namespace {

host::DeviceError unknown_device(std::string_view name) {
    return host::DeviceError(fmt::format("device '{}' is none of auto, cuda, cuda:N, cpu", name));
}

}  // namespace

std::unique_ptr<host::Device> choose_device(std::string_view name, int cpu_threads,
                                            const std::function<void(const std::string&)>& warn) {
    if (name == "cpu") return host::make_cpu_device(cpu_threads);
    if (name == "auto") {
        if (host::cuda_device_count() == 0) return host::make_cpu_device(cpu_threads);
        try {
            return host::make_cuda_device(0);
        } catch (const host::DeviceError& e) {
            if (warn) warn(fmt::format("the GPU is not used: {}", e.what()));
            return host::make_cpu_device(cpu_threads);
        }
    }
    if (name == "cuda") return host::make_cuda_device(0);
    constexpr std::string_view kPrefix = "cuda:";
    if (!name.starts_with(kPrefix)) throw unknown_device(name);
    int index = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, index);
    if (parsed.ec != std::errc() || parsed.ptr != end || index < 0) throw unknown_device(name);
    return host::make_cuda_device(index);
}

}  // namespace vigil
