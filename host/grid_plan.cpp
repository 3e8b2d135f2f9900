#include "host/grid_plan.h"

#include <algorithm>
#include <fmt/format.h>

#include "host/device.h"

namespace vigil::host {
namespace {

constexpr std::int32_t kCpuKvSplits = 8;
constexpr std::int32_t kMaxCpuBlocks = 1024;

// Blocks for a model on a GPU when the caller does not say. All of them, until measurements show where a small model
// is faster on fewer: its exchanges get cheaper, and few multiprocessors already read a small model fast.
std::int32_t preferred_blocks(const device::ModelConfig& config, const GpuLimits& limits) {
    return std::min(limits.multiprocessors, device::max_blocks(config));
}

void require_multiprocessors(const GpuLimits& limits, std::int32_t n_blocks) {
    if (n_blocks < 0 || n_blocks > limits.multiprocessors)
        throw DeviceError(
            fmt::format("{} blocks asked for, but the GPU has {} multiprocessors and holds one block on each", n_blocks,
                        limits.multiprocessors));
}

// Rounded down: one part more than there are blocks would make one block work twice while the others wait.
std::int32_t kv_splits(const device::ModelConfig& config, std::int32_t n_blocks) {
    return std::clamp(n_blocks / config.n_kv_heads, std::int32_t{1}, device::kMaxKvSplits);
}

void require_rows_for(const device::ModelConfig& config, std::int32_t n_blocks) {
    if (n_blocks > device::max_blocks(config))
        throw DeviceError(
            fmt::format("{} blocks asked for, but the model's smallest matrix has {} rows, and every block "
                        "must own one",
                        n_blocks, device::max_blocks(config)));
}

}  // namespace

device::GridPlan plan_gpu(const device::ModelConfig& config, const device::SharedNeed& need, const GpuLimits& limits,
                          std::int32_t n_blocks) {
    require_multiprocessors(limits, n_blocks);
    require_rows_for(config, n_blocks);
    if (need.minimum > limits.shared_bytes_per_block)
        throw DeviceError(fmt::format(
            "the model needs {} bytes of shared memory per block, but the GPU offers {}: its vectors are too "
            "long for this GPU",
            need.minimum, limits.shared_bytes_per_block));
    device::GridPlan plan;
    plan.n_blocks = n_blocks > 0 ? n_blocks : preferred_blocks(config, limits);
    plan.n_threads = limits.n_threads;
    plan.max_kv_splits = kv_splits(config, plan.n_blocks);
    plan.shared_bytes = std::clamp(need.wanted, need.minimum, limits.shared_bytes_per_block);
    plan.area_bytes = plan.shared_bytes - device::scratch_bytes();
    return plan;
}

device::GridPlan plan_gpu_stream(const device::ModelConfig& config, const GpuLimits& limits, std::int32_t n_blocks) {
    require_multiprocessors(limits, n_blocks);
    device::GridPlan plan;
    plan.n_blocks = n_blocks > 0 ? n_blocks : limits.multiprocessors;
    plan.n_threads = limits.n_threads;
    plan.max_kv_splits = kv_splits(config, plan.n_blocks);
    if (!device::plan_stream(config, limits.shared_bytes_per_block, plan))
        throw DeviceError(
            fmt::format("the model's vectors leave too little of {} bytes of shared memory for the weight stream",
                        limits.shared_bytes_per_block));
    return plan;
}

device::GridPlan plan_cpu(const device::ModelConfig& config, const device::SharedNeed& need, std::int32_t n_threads,
                          std::int32_t n_blocks) {
    if (n_threads < 1 || n_threads > kMaxCpuBlocks || n_blocks < 0 || n_blocks > kMaxCpuBlocks)
        throw DeviceError(fmt::format("{} CPU threads asked for; between 1 and {} work",
                                      n_blocks != 0 ? n_blocks : n_threads, kMaxCpuBlocks));
    require_rows_for(config, n_blocks);
    device::GridPlan plan;
    plan.n_blocks = n_blocks > 0 ? n_blocks : std::min(n_threads, device::max_blocks(config));
    plan.n_threads = 1;
    plan.max_kv_splits = kCpuKvSplits;
    plan.shared_bytes = std::max(need.wanted, need.minimum);
    plan.area_bytes = plan.shared_bytes - device::scratch_bytes();
    return plan;
}

}  // namespace vigil::host
