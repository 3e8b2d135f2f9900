// The resident kernel and the single steps for Hopper: the phases of the portable kernel, with weights from a stream.
// This file is compiled for sm_90a alone.
#include <cuda_runtime.h>

#include "device/resident_kernel.cuh"
#include "device/seams/leaves_cuda.cuh"
#include "device/sm90/block.cuh"
#include "device/sm90/launch.h"
#include "device/steps.cuh"

namespace vigil::device::sm90 {
namespace {

__global__ void __launch_bounds__(kThreads, 1) resident_kernel(const __grid_constant__ KernelArgs args) {
    extern __shared__ __align__(128) char shared[];
    run_block(args, shared, false, [&](char* team_shared) {
        StreamMachine<ResidentExchange<Team>> m{make_team(team_shared), {}};
        resident_loop(m, args);
    });
}

template <ring::Phase P>
__global__ void __launch_bounds__(kThreads, 1) step_kernel(const __grid_constant__ KernelArgs args, const int layer) {
    extern __shared__ __align__(128) char shared[];
    run_block(args, shared, true, [&](char* team_shared) {
        StreamMachine<LaunchExchange<Team>> m{make_team(team_shared), {}};
        run_phase(m, args, P, layer);
    });
}

using StepKernel = void (*)(KernelArgs, int);

struct StepEntry {
    ring::Phase phase;
    StepKernel kernel;
};

constexpr StepEntry kSteps[] = {
    {ring::Phase::kDirective, step_kernel<ring::Phase::kDirective>},
    {ring::Phase::kEmbed, step_kernel<ring::Phase::kEmbed>},
    {ring::Phase::kQkv, step_kernel<ring::Phase::kQkv>},
    {ring::Phase::kAttention, step_kernel<ring::Phase::kAttention>},
    {ring::Phase::kCombine, step_kernel<ring::Phase::kCombine>},
    {ring::Phase::kOutputProj, step_kernel<ring::Phase::kOutputProj>},
    {ring::Phase::kGateUp, step_kernel<ring::Phase::kGateUp>},
    {ring::Phase::kDown, step_kernel<ring::Phase::kDown>},
    {ring::Phase::kLogits, step_kernel<ring::Phase::kLogits>},
    {ring::Phase::kSample, step_kernel<ring::Phase::kSample>},
};

}  // namespace

bool is_built() {
    return true;
}

int prepare(const GridPlan& plan) {
    const auto allow = [&](const void* kernel) {
        return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, plan.shared_bytes);
    };
    if (const cudaError_t error = allow(reinterpret_cast<const void*>(resident_kernel)); error != cudaSuccess)
        return error;
    for (const StepEntry& step : kSteps)
        if (const cudaError_t error = allow(reinterpret_cast<const void*>(step.kernel)); error != cudaSuccess)
            return error;
    return cudaSuccess;
}

int max_blocks_per_sm(const GridPlan& plan, std::int32_t* blocks) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, resident_kernel, kThreads,
                                                         static_cast<std::size_t>(plan.shared_bytes));
}

int launch_resident(const KernelArgs& args, void* stream) {
    resident_kernel<<<args.plan.n_blocks, kThreads, args.plan.shared_bytes, static_cast<cudaStream_t>(stream)>>>(args);
    return cudaGetLastError();
}

int launch_step(const KernelArgs& args, Step step, bool one_block, void* stream) {
    for (const StepEntry& entry : kSteps) {
        if (entry.phase != step.phase) continue;
        entry.kernel<<<one_block ? 1 : args.plan.n_blocks, kThreads, args.plan.shared_bytes,
                       static_cast<cudaStream_t>(stream)>>>(args, step.layer);
        return cudaGetLastError();
    }
    return cudaErrorInvalidValue;
}

}  // namespace vigil::device::sm90
