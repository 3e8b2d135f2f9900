// What the benchmarks that need a GPU share: the GPU and memory on it, or a skip that everybody sees.
#pragma once

#include <benchmark/benchmark.h>
#include <cstddef>
#include <memory>
#include <string>

#include "host/device.h"

namespace vigil::bench {

// GPU 0 for the whole program; null, with the reason in the benchmark's row, if there is none that can be used.
inline host::Device* gpu_or_skip(benchmark::State& state) {
    static std::string reason;
    static const std::unique_ptr<host::Device> device = []() -> std::unique_ptr<host::Device> {
        try {
            return host::make_cuda_device(0);
        } catch (const host::DeviceError& error) {
            reason = std::string("skipped: ") + error.what();
            return nullptr;
        }
    }();
    if (!device) state.SkipWithError(reason.c_str());
    return device.get();
}

// Zeroed device memory for `count` elements.
template <class T>
class DeviceArray {
   public:
    DeviceArray(host::Device& device, std::size_t count)
        : device_(device), data_(static_cast<T*>(device.allocate(count * sizeof(T)))) {}
    ~DeviceArray() { device_.release(data_); }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;

    T* get() const noexcept { return data_; }
    T first() const {
        T value{};
        device_.download(&value, data_, sizeof value);
        return value;
    }

   private:
    host::Device& device_;
    T* data_;
};

// Ends the benchmark with CUDA's number if `error` is one.
inline bool failed(benchmark::State& state, int error) {
    if (error != 0) state.SkipWithError(("CUDA error " + std::to_string(error)).c_str());
    return error != 0;
}

}  // namespace vigil::bench
