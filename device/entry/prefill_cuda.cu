// The prefill steps as CUDA kernels: one per operation in portable form, and the choice between these and sm_80's.
#include <cuda_runtime.h>

#include "device/prefill/gemm_cuda.cuh"
#include "device/prefill/sm80/launch.h"
#include "device/prefill/steps.cuh"
#include "device/prefill/tile_cuda.cuh"

namespace vigil::device {
namespace {

constexpr int kThreads = GemmTile<CudaTeam>::kThreads;

template <PrefillOp Op>
__global__ void __launch_bounds__(kThreads) prefill_kernel(const PrefillChunk chunk, const PrefillStep step) {
    extern __shared__ __align__(64) char shared[];
    Machine<CudaTeam, LaunchExchange<CudaTeam>> m{CudaTeam{shared}, {}};
    run_prefill_op<Op>(m, chunk, step);
}

int ceil_div(long long a, int b) {
    return static_cast<int>((a + b - 1) / b);
}

// As many blocks as the step has pieces of work.
int n_blocks_of(const PrefillChunk& c, const PrefillStep& s) {
    const ModelConfig& config = c.model.config;
    switch (s.op) {
        case PrefillOp::kGemm:
            return ceil_div(s.gemm.n_tokens, GemmTile<CudaTeam>::kTokens) *
                   ceil_div(s.gemm.w.rows, GemmTile<CudaTeam>::kRows);
        case PrefillOp::kAttention:
            return ceil_div(static_cast<long long>(c.n_tokens) * (config.n_heads / config.n_kv_heads),
                            AttentionTile(config.head_dim).rows) *
                   config.n_kv_heads;
        case PrefillOp::kUnpack:
            return ceil_div(static_cast<long long>(eights_of(s.gemm.w)), kThreads);
        case PrefillOp::kSwiglu:
            return ceil_div(static_cast<long long>(c.n_tokens) * config.ffn_dim, 4 * kThreads);
        default:
            return c.n_tokens;
    }
}

template <PrefillOp Op>
cudaError_t launch(const PrefillChunk& chunk, const PrefillStep& step, cudaStream_t stream) {
    const std::size_t shared = prefill_shared_bytes(Op, chunk.model.config, GemmTile<CudaTeam>::kAreaFloats);
    prefill_kernel<Op><<<static_cast<unsigned>(n_blocks_of(chunk, step)), kThreads, shared, stream>>>(chunk, step);
    return cudaGetLastError();
}

// Asking for a kernel's attributes loads it.
template <PrefillOp Op>
cudaError_t load() {
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, prefill_kernel<Op>);
}

}  // namespace

namespace cuda {

int launch_prefill(const PrefillChunk& chunk, const PrefillStep& step, void* stream) {
    auto* const s = static_cast<cudaStream_t>(stream);
    if (chunk.tensor_cores && sm80::has_step(chunk, step)) return sm80::launch(chunk, step, s);
    switch (step.op) {
        case PrefillOp::kEmbed:
            return launch<PrefillOp::kEmbed>(chunk, step, s);
        case PrefillOp::kNorm:
            return launch<PrefillOp::kNorm>(chunk, step, s);
        case PrefillOp::kGemm:
            return launch<PrefillOp::kGemm>(chunk, step, s);
        case PrefillOp::kRopeAppend:
            return launch<PrefillOp::kRopeAppend>(chunk, step, s);
        case PrefillOp::kAttention:
            return launch<PrefillOp::kAttention>(chunk, step, s);
        case PrefillOp::kSwiglu:
            return launch<PrefillOp::kSwiglu>(chunk, step, s);
        case PrefillOp::kUnpack:
            return launch<PrefillOp::kUnpack>(chunk, step, s);
    }
    return cudaErrorInvalidValue;
}

int prepare_prefill() {
    for (const cudaError_t error :
         {load<PrefillOp::kEmbed>(), load<PrefillOp::kNorm>(), load<PrefillOp::kGemm>(), load<PrefillOp::kRopeAppend>(),
          load<PrefillOp::kAttention>(), load<PrefillOp::kSwiglu>(), load<PrefillOp::kUnpack>()})
        if (error != cudaSuccess) return error;
    return sm80::supported() ? sm80::prepare() : cudaSuccess;
}

bool has_tensor_cores() {
    return sm80::supported();
}

}  // namespace cuda
}  // namespace vigil::device
