// From a GGUF file to weights on a device: configuration, checks, upload.
#pragma once

#include <functional>
#include <vector>

#include "device/model.h"
#include "host/device.h"
#include "host/gguf/gguf.h"

namespace vigil::host {

// Reads and checks the architecture (llama, qwen2, qwen3), its numbers and the RoPE scaling.
// `max_seq_len` 0: the model's context length. Throws gguf::Error naming the key and value.
device::ModelConfig read_config(const gguf::File& file, std::int32_t max_seq_len);

// [rotary_dim / 2] turns per position in 0.64 fixed point, with linear, Llama-3 (rope_freqs) or YaRN scaling applied.
std::vector<std::uint64_t> rope_turns(const gguf::File& file, const device::ModelConfig& config);

// The model in device memory. Owns it; movable.
class Model {
   public:
    using Progress = std::function<void(std::size_t done_bytes, std::size_t total_bytes)>;

    // Uploads all tensors; quantised ones become F16. Throws gguf::Error for a missing or misshapen tensor
    // (naming it, its shape and what was expected), DeviceError when memory runs out. `before_upload` is called once
    // the weights have their memory: the upload takes long, and other things can begin beside it.
    Model(const gguf::File& file, Device& device, std::int32_t max_seq_len, const Progress& progress = {},
          const std::function<void()>& before_upload = {});
    ~Model();
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    const device::ModelConfig& config() const noexcept { return config_; }
    const device::ModelWeights& weights() const noexcept { return weights_; }
    // All that is held on the device for it: the weights and what lies between and beside them.
    std::size_t device_bytes() const noexcept { return device_bytes_; }
    std::size_t weight_bytes() const noexcept { return weight_bytes_; }  // on the device

   private:
    Device& device_;
    device::ModelConfig config_;
    device::ModelWeights weights_;
    std::size_t weight_bytes_ = 0;
    std::size_t device_bytes_ = 0;
    std::vector<void*> allocations_;
};

}  // namespace vigil::host
