// How a model is laid over a machine: blocks, threads, splits of the KV length, shared memory. Pure arithmetic on the
// machine's limits, so that it can be tested without the machine.
#pragma once

#include <cstdint>

#include "device/launch.h"
#include "device/model.h"

namespace vigil::host {

// What a GPU offers the resident kernel.
struct GpuLimits {
    std::int32_t multiprocessors = 0;
    std::int32_t shared_bytes_per_block = 0;  // after opting in, less what the kernel itself and the driver reserve
    std::int32_t n_threads = 0;               // per block, as the kernel was compiled
};

// One block per multiprocessor (`n_blocks` 0) or as many as asked for. Throws DeviceError with the numbers if the
// blocks would not all be resident at once or the model needs more shared memory than there is.
device::GridPlan plan_gpu(const device::ModelConfig& config, const device::SharedNeed& need, const GpuLimits& limits,
                          std::int32_t n_blocks);

// The same for a model in tiles on a GPU with the Hopper path. Throws DeviceError if the model's vectors leave too
// little shared memory for the weight stream.
device::GridPlan plan_gpu_stream(const device::ModelConfig& config, const GpuLimits& limits, std::int32_t n_blocks);

// One block per worker thread (`n_blocks` 0), or as many as asked for. The splits of the KV length depend on neither,
// so that the bits do not either.
device::GridPlan plan_cpu(const device::ModelConfig& config, const device::SharedNeed& need, std::int32_t n_threads,
                          std::int32_t n_blocks);

}  // namespace vigil::host
