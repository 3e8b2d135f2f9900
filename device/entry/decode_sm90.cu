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
template <std::uint32_t Kernel>
struct ResidentLoop {
    const KernelArgs& args;

    VIGIL_DEVICE void operator()(char* shared) const {
        StreamMachine<Kernel, ResidentExchange<Team>> m{make_team<Kernel>(shared), {}};
        resident_loop(m, args);
    }
};
template <std::uint32_t Kernel, ring::Phase P>
struct OneStep {
    const KernelArgs& args;
    int layer;

    VIGIL_DEVICE void operator()(char* shared) const {
        StreamMachine<Kernel, LaunchExchange<Team>> m{make_team<Kernel>(shared), {}};
        run_phase(m, args, P, layer);
    }
};

template <std::uint32_t Kernel>
__global__ void __launch_bounds__(kThreads, 1) resident_kernel(const __grid_constant__ KernelArgs args) {
    extern __shared__ __align__(128) char shared[];
    run_block(args, shared, Extent::kTokens, AllRuns<Kernel>{{args}}, ResidentLoop<Kernel>{args});
}

template <std::uint32_t Kernel, ring::Phase P>
__global__ void __launch_bounds__(kThreads, 1) step_kernel(const __grid_constant__ KernelArgs args, const int layer) {
    extern __shared__ __align__(128) char shared[];
    run_block(args, shared, step_extent(P), RunsOfStep{args, P, layer}, OneStep<Kernel, P>{args, layer});
}

struct StepEntry {
    ring::Phase phase;
    void (*kernel)(KernelArgs, int);
};

// A resident kernel and the steps beside it, which have no use for rounds.
template <std::uint32_t Kernel>
struct Kernels {
    static constexpr std::uint32_t kStep = Kernel & ~kInRounds;
    void (*resident)(KernelArgs) = resident_kernel<Kernel>;
    StepEntry steps[10] = {
        {ring::Phase::kDirective, step_kernel<kStep, ring::Phase::kDirective>},
        {ring::Phase::kEmbed, step_kernel<kStep, ring::Phase::kEmbed>},
        {ring::Phase::kQkv, step_kernel<kStep, ring::Phase::kQkv>},
        {ring::Phase::kAttention, step_kernel<kStep, ring::Phase::kAttention>},
        {ring::Phase::kCombine, step_kernel<kStep, ring::Phase::kCombine>},
        {ring::Phase::kOutputProj, step_kernel<kStep, ring::Phase::kOutputProj>},
        {ring::Phase::kGateUp, step_kernel<kStep, ring::Phase::kGateUp>},
        {ring::Phase::kDown, step_kernel<kStep, ring::Phase::kDown>},
        {ring::Phase::kLogits, step_kernel<kStep, ring::Phase::kLogits>},
        {ring::Phase::kSample, step_kernel<kStep, ring::Phase::kSample>},
    };
};

template <class Use>
auto with_kernels(const GridPlan& plan, Use&& use) {
    return with_kernel(plan.stream, [&](auto kernel) { return use(Kernels<decltype(kernel)::value>{}); });
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
