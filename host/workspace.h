// The device memory that a decode works in, beside the weights: KV cache, activations, state, synchronisation words.
#pragma once

#include <cstddef>

#include "device/model.h"
#include "host/device.h"

namespace vigil::host {

// Owns one allocation on `device`, which must outlive it. Sizes and shapes are those of device/model.h.
class Workspace {
   public:
    // Throws DeviceError with the sizes and what to change if it does not fit into the device's free memory.
    Workspace(Device& device, const device::ModelConfig& config, const device::GridPlan& plan);
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    // Sets config, plan, kv, act, history, state and sync; leaves every other field alone.
    void fill(device::KernelArgs& args) const;

    // Back to the state before the first launch, for a fresh start after a fault: zeroes everything but
    // the KV cache and history. Only while the kernel is parked.
    void reset();

    std::size_t bytes() const noexcept { return bytes_; }
    std::size_t kv_bytes() const noexcept { return kv_bytes_; }

    // What a Workspace of this shape would take, in bytes.
    static std::size_t bytes_needed(const device::ModelConfig& config, const device::GridPlan& plan);

   private:
    Device& device_;
    device::KernelArgs args_;  // only the fields that fill() hands out
    std::size_t bytes_ = 0;
    std::size_t kv_bytes_ = 0;
    void* memory_ = nullptr;
};

// Bytes of K and V for the whole context.
std::size_t kv_cache_bytes(const device::ModelConfig& config);

}  // namespace vigil::host
