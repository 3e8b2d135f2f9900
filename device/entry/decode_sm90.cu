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

// What the consumers do. Functions that are always inlined, which lambdas are not: called ones would see the kernel's
// argument through a pointer.
template <std::uint32_t Kinds>
struct ResidentLoop {
    const KernelArgs& args;

    VIGIL_DEVICE void operator()(char* shared) const {
        StreamMachine<Kinds, ResidentExchange<Team>> m{make_team<Kinds>(shared), {}};
        resident_loop(m, args);
    }
};
template <std::uint32_t Kinds, ring::Phase P>
struct OneStep {
    const KernelArgs& args;
    int layer;

    VIGIL_DEVICE void operator()(char* shared) const {
        StreamMachine<Kinds, LaunchExchange<Team>> m{make_team<Kinds>(shared), {}};
        run_phase(m, args, P, layer);
    }
};

template <std::uint32_t Kinds>
__global__ void __launch_bounds__(kThreads, 1) resident_kernel(const __grid_constant__ KernelArgs args) {
    extern __shared__ __align__(128) char shared[];
    run_block(args, shared, false, AllRuns<Kinds>{{args}}, ResidentLoop<Kinds>{args});
}

template <std::uint32_t Kinds, ring::Phase P>
__global__ void __launch_bounds__(kThreads, 1) step_kernel(const __grid_constant__ KernelArgs args, const int layer) {
    extern __shared__ __align__(128) char shared[];
    run_block(args, shared, true, RunsOfStep{args, P, layer}, OneStep<Kinds, P>{args, layer});
}

struct StepEntry {
    ring::Phase phase;
    void (*kernel)(KernelArgs, int);
};

// The kernels of a model whose inputs are of these kinds.
template <std::uint32_t Kinds>
struct Kernels {
    void (*resident)(KernelArgs) = resident_kernel<Kinds>;
    StepEntry steps[10] = {
        {ring::Phase::kDirective, step_kernel<Kinds, ring::Phase::kDirective>},
        {ring::Phase::kEmbed, step_kernel<Kinds, ring::Phase::kEmbed>},
        {ring::Phase::kQkv, step_kernel<Kinds, ring::Phase::kQkv>},
        {ring::Phase::kAttention, step_kernel<Kinds, ring::Phase::kAttention>},
        {ring::Phase::kCombine, step_kernel<Kinds, ring::Phase::kCombine>},
        {ring::Phase::kOutputProj, step_kernel<Kinds, ring::Phase::kOutputProj>},
        {ring::Phase::kGateUp, step_kernel<Kinds, ring::Phase::kGateUp>},
        {ring::Phase::kDown, step_kernel<Kinds, ring::Phase::kDown>},
        {ring::Phase::kLogits, step_kernel<Kinds, ring::Phase::kLogits>},
        {ring::Phase::kSample, step_kernel<Kinds, ring::Phase::kSample>},
    };
};

template <class Use>
auto with_kernels(const GridPlan& plan, Use&& use) {
    return with_kernel_kinds(plan.stream, [&](auto kinds) { return use(Kernels<decltype(kinds)::value>{}); });
}

}  // namespace

bool is_built() {
    return true;
}

int prepare(const GridPlan& plan) {
    const auto allow = [&](const void* kernel) {
        return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, plan.shared_bytes);
    };
    return with_kernels(plan, [&](auto kernels) -> int {
        if (const cudaError_t error = allow(reinterpret_cast<const void*>(kernels.resident)); error != cudaSuccess)
            return error;
        for (const StepEntry& step : kernels.steps)
            if (const cudaError_t error = allow(reinterpret_cast<const void*>(step.kernel)); error != cudaSuccess)
                return error;
        return cudaSuccess;
    });
}

int max_blocks_per_sm(const GridPlan& plan, std::int32_t* blocks) {
    return with_kernels(plan, [&](auto kernels) -> int {
        return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernels.resident, kThreads,
                                                             static_cast<std::size_t>(plan.shared_bytes));
    });
}

int launch_resident(const KernelArgs& args, void* stream) {
    return with_kernels(args.plan, [&](auto kernels) -> int {
        kernels.resident<<<args.plan.n_blocks, kThreads, args.plan.shared_bytes, static_cast<cudaStream_t>(stream)>>>(
            args);
        return cudaGetLastError();
    });
}

int launch_step(const KernelArgs& args, Step step, bool one_block, void* stream) {
    return with_kernels(args.plan, [&](auto kernels) -> int {
        for (const StepEntry& entry : kernels.steps) {
            if (entry.phase != step.phase) continue;
            entry.kernel<<<one_block ? 1 : args.plan.n_blocks, kThreads, args.plan.shared_bytes,
                           static_cast<cudaStream_t>(stream)>>>(args, step.layer);
            return cudaGetLastError();
        }
        return cudaErrorInvalidValue;
    });
}

}  // namespace vigil::device::sm90
