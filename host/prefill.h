// Prefill: the prompt's keys and values by ordinary launches, many tokens at a time, while the kernel is parked.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "device/model.h"
#include "host/device.h"
#include "host/prefill/cublas_opening.h"

namespace vigil::host {

struct PrefillOptions {
    bool use_cublas = true;                                   // false, or no cuBLAS to be found: our own GEMM
    bool open_cublas_late = false;                            // in the first run() instead of at once
    std::int32_t chunk = 512;                                 // tokens per pass over the weights
    std::function<void(const std::string&)> on_warning = {};  // cuBLAS can't be used, and why
    // On a GPU that has them, FP16 inputs for our own GEMM and attention; false: FP32, the reference for both.
    bool use_tensor_cores = true;
    // Called before each step is enqueued, and once after the last of a chunk with null: for measurements.
    std::function<void(const device::PrefillStep*)> on_step = {};
};

// The chunk that suits `device`, the current GPU: as many tokens as keep tensor cores busy and whose scratch takes no
// more than an eighth of the memory that is free now.
std::int32_t prefill_chunk(const Device& device, const device::ModelConfig& config);

class Prefill {
   public:
    // Only while the kernel is parked: cuBLAS waits for the GPU when it goes.
    virtual ~Prefill() = default;
    // Writes K and V of positions [first, first + tokens.size()) into args.kv, where row kv_first holds position 0;
    // positions before `first` must be there. No logits: the last prompt token is fed by the decode kernel. Returns
    // when the work is done.
    virtual void run(std::span<const std::int32_t> tokens, std::int32_t first, std::int32_t kv_first) = 0;
    void run(std::span<const std::int32_t> tokens, std::int32_t first) { run(tokens, first, 0); }
    // Tokens per pass over the weights.
    virtual std::int32_t chunk() const = 0;
    // "cuBLAS 13.0", "own GEMM"; before the first run() the latter if cuBLAS is to be opened late.
    virtual const char* gemm_name() const = 0;
};

// Begins to open the cuBLAS that make_prefill() then takes: for a caller that has something to do meanwhile. Null if
// `device` has no use for one.
std::unique_ptr<CublasOpening> begin_cublas(Device& device);

// Allocates its scratch (bounded by the chunk) on `device`; `args` as for the decode kernel. `cublas`: what has been
// begun; without it cuBLAS is opened as `options` say.
std::unique_ptr<Prefill> make_prefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options,
                                      std::unique_ptr<CublasOpening> cublas);
std::unique_ptr<Prefill> make_prefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options);

}  // namespace vigil::host
