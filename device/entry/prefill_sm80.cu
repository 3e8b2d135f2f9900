// The prefill steps for sm_80 and up as CUDA kernels. In code for older machines they only trap.
#include <iterator>

#include "device/prefill/sm80/attention.cuh"
#include "device/prefill/sm80/elementwise.cuh"
#include "device/prefill/sm80/few_tokens.cuh"
#include "device/prefill/sm80/gemm.cuh"
#include "device/prefill/sm80/launch.h"

namespace vigil::device::sm80 {
namespace {

using CudaMachine = Machine<CudaTeam, LaunchExchange<CudaTeam>>;

__global__ void __launch_bounds__(kElementwiseThreads) norm_kernel(const PrefillChunk chunk, const float* norm) {
    extern __shared__ __align__(64) char shared[];
    CudaMachine m{CudaTeam{shared}, {}};
    norm_token(m, chunk, norm);
}

__global__ void __launch_bounds__(kElementwiseThreads) heads_kernel(const PrefillChunk chunk, int layer) {
    extern __shared__ __align__(64) char shared[];
    CudaMachine m{CudaTeam{shared}, {}};
    finish_heads(m, chunk, layer, m.area());
}

template <int HeadDim>
__global__ void __launch_bounds__(kElementwiseThreads) whole_heads_kernel(const PrefillChunk chunk, int layer) {
    __shared__ __align__(16) float table[HeadDim];
    CudaMachine m{CudaTeam{nullptr}, {}};
    finish_whole_heads<HeadDim>(m, chunk, layer, table);
}

__global__ void __launch_bounds__(kElementwiseThreads) swiglu_kernel(const PrefillChunk chunk) {
    const CudaMachine m{CudaTeam{nullptr}, {}};
    swiglu_run(m, chunk);
}

template <int HeadDim, int RowTiles>
__global__ void __launch_bounds__((AttentionTile<HeadDim, RowTiles>::kThreads), 2)
    attention_kernel(const PrefillChunk chunk, int layer) {
    extern __shared__ __align__(64) char shared[];
#if __CUDA_ARCH__ >= 800
    attend<HeadDim, RowTiles>(chunk, layer, shared);
#else
    __trap();
#endif
}

template <class Tile, bool kHalfWeights>
__global__ void __launch_bounds__(Tile::kThreads, 2) gemm_kernel(const GemmArgs g) {
    extern __shared__ __align__(64) char shared[];
#if __CUDA_ARCH__ >= 800
    multiply<Tile, kHalfWeights>(g, shared);
#else
    __trap();
#endif
}

template <class Block, int TokenTiles>
__global__ void __launch_bounds__(Block::kThreads, 16 / Block::kWarps) few_tokens_kernel(const GemmArgs g) {
#if __CUDA_ARCH__ >= 800
    multiply_few<Block, TokenTiles>(g);
#else
    __trap();
#endif
}

unsigned ceil_div(long long a, int b) {
    return static_cast<unsigned>((a + b - 1) / b);
}

int multiprocessors() {
    int device = 0;
    int n = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, device) != cudaSuccess)
        return 1;
    return n;
}

cudaError_t launch_norm(const PrefillChunk& c, const PrefillStep& s, cudaStream_t stream) {
    norm_kernel<<<static_cast<unsigned>(c.n_tokens), kElementwiseThreads, sizeof(BlockScratch), stream>>>(c, s.norm);
    return cudaGetLastError();
}

template <int HeadDim>
cudaError_t launch_whole_heads(const PrefillChunk& c, const PrefillStep& s, cudaStream_t stream) {
    whole_heads_kernel<HeadDim><<<static_cast<unsigned>(c.n_tokens), kElementwiseThreads, 0, stream>>>(c, s.layer);
    return cudaGetLastError();
}

cudaError_t launch_heads(const PrefillChunk& c, const PrefillStep& s, cudaStream_t stream) {
    if (has_whole_heads<64>(c.model.config, s.norm != nullptr)) return launch_whole_heads<64>(c, s, stream);
    if (has_whole_heads<80>(c.model.config, s.norm != nullptr)) return launch_whole_heads<80>(c, s, stream);
    if (has_whole_heads<96>(c.model.config, s.norm != nullptr)) return launch_whole_heads<96>(c, s, stream);
    if (has_whole_heads<128>(c.model.config, s.norm != nullptr)) return launch_whole_heads<128>(c, s, stream);
    const ModelConfig& config = c.model.config;
    const int floats = config.rotary_dim + kElementwiseThreads / 32 * config.head_dim;
    const std::size_t shared = sizeof(BlockScratch) + sizeof(float) * static_cast<std::size_t>(floats);
    const int blocks = c.n_tokens * head_blocks(c, s.layer);
    heads_kernel<<<static_cast<unsigned>(blocks), kElementwiseThreads, shared, stream>>>(c, s.layer);
    return cudaGetLastError();
}

cudaError_t launch_swiglu(const PrefillChunk& c, cudaStream_t stream) {
    const unsigned runs = ceil_div(c.model.config.ffn_dim / 8, kElementwiseThreads);
    swiglu_kernel<<<static_cast<unsigned>(c.n_tokens) * runs, kElementwiseThreads, 0, stream>>>(c);
    return cudaGetLastError();
}

template <int HeadDim, int RowTiles>
unsigned attention_blocks(const PrefillChunk& c) {
    const ModelConfig& config = c.model.config;
    return ceil_div(static_cast<long long>(c.n_tokens) * (config.n_heads / config.n_kv_heads),
                    AttentionTile<HeadDim, RowTiles>::kRows) *
           static_cast<unsigned>(config.n_kv_heads);
}

template <int HeadDim, int RowTiles>
cudaError_t launch_attention_as(const PrefillChunk& c, const PrefillStep& s, cudaStream_t stream) {
    using Tile = AttentionTile<HeadDim, RowTiles>;
    attention_kernel<HeadDim, RowTiles>
        <<<attention_blocks<HeadDim, RowTiles>(c), Tile::kThreads, Tile::kSharedBytes, stream>>>(c, s.layer);
    return cudaGetLastError();
}

template <int HeadDim>
cudaError_t launch_attention_of(const PrefillChunk& c, const PrefillStep& s, cudaStream_t stream) {
    // Large tiles once they make two blocks for every multiprocessor.
    if (attention_blocks<HeadDim, 2>(c) >= 2 * static_cast<unsigned>(multiprocessors()))
        return launch_attention_as<HeadDim, 2>(c, s, stream);
    return launch_attention_as<HeadDim, 1>(c, s, stream);
}

cudaError_t launch_attention(const PrefillChunk& c, const PrefillStep& s, cudaStream_t stream) {
    switch (c.model.config.head_dim) {
        case 64:
            return launch_attention_of<64>(c, s, stream);
        case 80:
            return launch_attention_of<80>(c, s, stream);
        case 96:
            return launch_attention_of<96>(c, s, stream);
        case 128:
            return launch_attention_of<128>(c, s, stream);
        default:
            return cudaErrorInvalidValue;
    }
}

template <class Tile>
unsigned gemm_blocks(const GemmArgs& g) {
    return ceil_div(g.n_tokens, Tile::kTokens) * ceil_div(g.w.rows, Tile::kRows);
}

template <class Tile>
cudaError_t launch_gemm_as(const GemmArgs& g, cudaStream_t stream) {
    if (g.w.format == TensorFormat::kF16)
        gemm_kernel<Tile, true><<<gemm_blocks<Tile>(g), Tile::kThreads, Tile::kSharedBytes, stream>>>(g);
    else
        gemm_kernel<Tile, false><<<gemm_blocks<Tile>(g), Tile::kThreads, Tile::kSharedBytes, stream>>>(g);
    return cudaGetLastError();
}

// By the number of token tiles, less one.
template <class Block>
constexpr void (*kFewTokensKernels[])(GemmArgs) = {few_tokens_kernel<Block, 1>, few_tokens_kernel<Block, 2>,
                                                   few_tokens_kernel<Block, 3>, few_tokens_kernel<Block, 4>};

template <class Block>
cudaError_t launch_few_tokens_as(const GemmArgs& g, cudaStream_t stream) {
    constexpr auto& kernels = kFewTokensKernels<Block>;
    static_assert(8 * std::size(kernels) == kFewTokens);
    kernels[(g.n_tokens - 1) / 8]<<<ceil_div(g.w.rows, Block::kRows), Block::kThreads, 0, stream>>>(g);
    return cudaGetLastError();
}

cudaError_t launch_few_tokens(const GemmArgs& g, cudaStream_t stream) {
    if (g.n_tokens < 1 || !multiplies_in_tiles(g.w, g.n_tokens)) return cudaErrorInvalidValue;
    if (ceil_div(g.w.rows, FewRowsBlock::kRows) <= static_cast<unsigned>(multiprocessors()))
        return launch_few_tokens_as<FewRowsBlock>(g, stream);
    return launch_few_tokens_as<ManyRowsBlock>(g, stream);
}

// The largest tile that gives half of the multiprocessors a block: smaller ones cost more than the other half gains.
cudaError_t launch_gemm(const GemmArgs& g, cudaStream_t stream) {
    if (g.w.tiles.chunk_cols != 0) return launch_few_tokens(g, stream);
    const auto enough = static_cast<unsigned>(multiprocessors()) / 2;
    if (gemm_blocks<LargeProduct>(g) >= enough) return launch_gemm_as<LargeProduct>(g, stream);
    if (gemm_blocks<MediumProduct>(g) >= enough) return launch_gemm_as<MediumProduct>(g, stream);
    return launch_gemm_as<SmallProduct>(g, stream);
}

// More than 48 KB of shared memory must be asked for; asking loads the kernel.
template <class Kernel>
cudaError_t prepare_kernel(Kernel* kernel, int shared_bytes) {
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
}

template <int HeadDim>
cudaError_t prepare_attention() {
    const cudaError_t error = prepare_kernel(attention_kernel<HeadDim, 1>, AttentionTile<HeadDim, 1>::kSharedBytes);
    if (error != cudaSuccess) return error;
    return prepare_kernel(attention_kernel<HeadDim, 2>, AttentionTile<HeadDim, 2>::kSharedBytes);
}

template <class Block>
cudaError_t prepare_few_tokens() {
    for (const auto kernel : kFewTokensKernels<Block>)
        if (const cudaError_t error = prepare_kernel(kernel, 0); error != cudaSuccess) return error;
    return cudaSuccess;
}

template <class Tile>
cudaError_t prepare_gemm() {
    const cudaError_t error = prepare_kernel(gemm_kernel<Tile, true>, Tile::kSharedBytes);
    if (error != cudaSuccess) return error;
    return prepare_kernel(gemm_kernel<Tile, false>, Tile::kSharedBytes);
}

}  // namespace

bool has_step(const PrefillChunk& chunk, const PrefillStep& step) {
    const int head_dim = chunk.model.config.head_dim;
    const bool has_attention = head_dim == 64 || head_dim == 80 || head_dim == 96 || head_dim == 128;
    switch (step.op) {
        case PrefillOp::kNorm:
        case PrefillOp::kGemm:
        case PrefillOp::kSwiglu:
            return true;
        // The two agree on where q is.
        case PrefillOp::kRopeAppend:
        case PrefillOp::kAttention:
            return has_attention;
        case PrefillOp::kEmbed:
        case PrefillOp::kUnpack:
            return false;
    }
    return false;
}

cudaError_t launch(const PrefillChunk& chunk, const PrefillStep& step, cudaStream_t stream) {
    switch (step.op) {
        case PrefillOp::kNorm:
            return launch_norm(chunk, step, stream);
        case PrefillOp::kGemm:
            return launch_gemm(step.gemm, stream);
        case PrefillOp::kRopeAppend:
            return launch_heads(chunk, step, stream);
        case PrefillOp::kAttention:
            return launch_attention(chunk, step, stream);
        case PrefillOp::kSwiglu:
            return launch_swiglu(chunk, stream);
        case PrefillOp::kEmbed:
        case PrefillOp::kUnpack:
            break;
    }
    return cudaErrorInvalidValue;
}

cudaError_t prepare() {
    for (const cudaError_t error :
         {prepare_kernel(norm_kernel, sizeof(BlockScratch)), prepare_kernel(swiglu_kernel, 0),
          prepare_kernel(heads_kernel, 48 << 10), prepare_kernel(whole_heads_kernel<64>, 0),
          prepare_kernel(whole_heads_kernel<80>, 0), prepare_kernel(whole_heads_kernel<96>, 0),
          prepare_kernel(whole_heads_kernel<128>, 0), prepare_attention<64>(), prepare_attention<80>(),
          prepare_attention<96>(), prepare_attention<128>(), prepare_gemm<LargeProduct>(),
          prepare_gemm<MediumProduct>(), prepare_gemm<SmallProduct>(), prepare_few_tokens<FewRowsBlock>(),
          prepare_few_tokens<ManyRowsBlock>()})
        if (error != cudaSuccess) return error;
    return cudaSuccess;
}

bool supported() {
    cudaFuncAttributes attributes;
    if (cudaFuncGetAttributes(&attributes, attention_kernel<64, 1>) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    // The version that the code was compiled for, also where the driver compiled it once more for a newer GPU.
    return attributes.ptxVersion >= 80;
}

}  // namespace vigil::device::sm80
