// The resident kernel and the single steps as CUDA kernels, portable form: sm_52 up from one source.
#include <cuda_runtime.h>

#include "device/launch.h"
#include "device/resident_kernel.cuh"
#include "device/seams/leaves_cuda.cuh"
#include "device/sm90/launch.h"
#include "device/steps.cuh"

namespace vigil::device {
namespace {

using cuda::kThreadsPerBlock;

__global__ void __launch_bounds__(kThreadsPerBlock, 1) resident_kernel(const KernelArgs args) {
    extern __shared__ __align__(128) char shared[];
    Machine<CudaTeam, ResidentExchange<CudaTeam>> m{CudaTeam{shared}, {}};
    resident_loop(m, args);
}

template <ring::Phase P>
__global__ void __launch_bounds__(kThreadsPerBlock, 1) step_kernel(const KernelArgs args, const int layer) {
    extern __shared__ __align__(128) char shared[];
    Machine<CudaTeam, LaunchExchange<CudaTeam>> m{CudaTeam{shared}, {}};
    run_phase(m, args, P, layer);
}

using StepKernel = void (*)(KernelArgs, int);

struct StepEntry {
    ring::Phase phase;
    StepKernel kernel;
    bool one_block;  // only block 0 has work
};

constexpr StepEntry kSteps[] = {
    {ring::Phase::kDirective, step_kernel<ring::Phase::kDirective>, true},
    {ring::Phase::kEmbed, step_kernel<ring::Phase::kEmbed>, false},
    {ring::Phase::kQkv, step_kernel<ring::Phase::kQkv>, false},
    {ring::Phase::kAttention, step_kernel<ring::Phase::kAttention>, false},
    {ring::Phase::kCombine, step_kernel<ring::Phase::kCombine>, false},
    {ring::Phase::kOutputProj, step_kernel<ring::Phase::kOutputProj>, false},
    {ring::Phase::kGateUp, step_kernel<ring::Phase::kGateUp>, false},
    {ring::Phase::kDown, step_kernel<ring::Phase::kDown>, false},
    {ring::Phase::kLogits, step_kernel<ring::Phase::kLogits>, false},
    {ring::Phase::kSample, step_kernel<ring::Phase::kSample>, true},
};

// Lets a kernel use that much dynamic shared memory and loads it.
template <class Kernel>
cudaError_t allow_shared(Kernel kernel, std::int32_t bytes) {
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

}  // namespace

namespace cuda {

bool has_cuda() {
    return true;
}

const char* architectures() {
    return VIGIL_CUDA_ARCHITECTURES;
}

bool has_stream() {
    return sm90::is_built();
}

int prepare(const GridPlan& plan) {
    if (plan.stream.n_stages > 0) return sm90::prepare(plan);
    if (const cudaError_t error = allow_shared(resident_kernel, plan.shared_bytes); error != cudaSuccess) return error;
    for (const StepEntry& step : kSteps)
        if (const cudaError_t error = allow_shared(step.kernel, plan.shared_bytes); error != cudaSuccess) return error;
    return cudaSuccess;
}

int max_blocks_per_sm(const GridPlan& plan, std::int32_t* blocks) {
    if (const int error = prepare(plan); error != cudaSuccess) return error;
    if (plan.stream.n_stages > 0) return sm90::max_blocks_per_sm(plan, blocks);
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, resident_kernel, kThreadsPerBlock,
                                                         static_cast<std::size_t>(plan.shared_bytes));
}

int launch_resident(const KernelArgs& args, void* stream) {
    if (args.plan.stream.n_stages > 0) return sm90::launch_resident(args, stream);
    resident_kernel<<<args.plan.n_blocks, args.plan.n_threads, args.plan.shared_bytes,
                      static_cast<cudaStream_t>(stream)>>>(args);
    return cudaGetLastError();
}

int launch_step(const KernelArgs& args, std::int32_t index, void* stream) {
    const Step step = step_at(args.config, index);
    for (const StepEntry& entry : kSteps) {
        if (entry.phase != step.phase) continue;
        if (args.plan.stream.n_stages > 0) return sm90::launch_step(args, step, entry.one_block, stream);
        // block() and n_blocks() come from the grid, so a step for block 0 alone needs no more than one.
        entry.kernel<<<entry.one_block ? 1 : args.plan.n_blocks, args.plan.n_threads, args.plan.shared_bytes,
                       static_cast<cudaStream_t>(stream)>>>(args, step.layer);
        return cudaGetLastError();
    }
    return cudaErrorInvalidValue;
}

}  // namespace cuda
}  // namespace vigil::device
