// The second page of the door into device code (device/launch.h is the first): prefill.
//
// A chunk of prompt tokens goes through the layers as a fixed list of steps, each an ordinary launch over all tokens of
// the chunk. On a GPU a library may take the place of the kGemm steps; everything else is the same.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device/model.h"

namespace vigil::device {

enum class PrefillOp : std::uint32_t {
    kEmbed = 0,   // residual = embedding[tokens]
    kNorm,        // x = rmsnorm(residual) * norm
    kGemm,        // out (+)= x · Wᵀ
    kRopeAppend,  // bias, QK-norm and RoPE on qkv; K and V → FP16 cache
    kAttention,   // x = causal attention of q over the cache
    kSwiglu,      // x = silu(gate) * up
    kUnpack,      // halves = w, for a library's GEMM
};

// On tensor cores a product of at most so many tokens takes FP16 in tiles as it lies. All else that is no plain format
// in rows has to be unpacked before its product.
constexpr std::int32_t kFewTokens = 32;
inline bool multiplies_in_tiles(const Tensor& w, std::int32_t n_tokens) {
    return w.tiles.chunk_cols != 0 && w.format == TensorFormat::kF16 && n_tokens <= kFewTokens;
}

// out[t, r] (+)= sum over c of x[t, c] * w[r, c], for n_tokens rows t.
struct GemmArgs {
    Tensor w;
    const void* x = nullptr;  // [n_tokens, w.cols], FP32 or, under `half_inputs`, FP16
    float* out = nullptr;     // [n_tokens] rows, out_stride floats apart
    std::int32_t out_stride = 0;
    std::int32_t n_tokens = 0;
    bool add = false;  // to what is in `out`
};

struct PrefillStep {
    PrefillOp op = PrefillOp::kEmbed;
    std::int32_t layer = 0;
    const float* norm = nullptr;      // kNorm; kRopeAppend: the layer's q_norm or null
    GemmArgs gemm;                    // kGemm; kUnpack takes w of it
    std::uint16_t* halves = nullptr;  // kUnpack: [w.rows, w.cols]
};

// What the steps of a chunk hand to each other.
struct PrefillBuffers {
    const std::int32_t* tokens = nullptr;  // [n_tokens]
    float* residual = nullptr;             // [n_tokens, dim]
    // Input of the next GEMM, FP32 or, under `half_inputs`, FP16: [n_tokens, dim | n_heads * head_dim | ffn_dim]
    void* x = nullptr;
    float* qkv = nullptr;         // [n_tokens, (n_heads + 2 * n_kv_heads) * head_dim]
    float* gate = nullptr;        // [n_tokens, ffn_dim], rows ffn_stride apart
    float* up = nullptr;          // the same
    std::int32_t ffn_stride = 0;  // 0: ffn_dim
};

// Tokens at positions [first, first + n_tokens). Positions before `first` are in the cache.
struct PrefillChunk {
    KernelArgs model;  // config, weights and kv are used
    PrefillBuffers buffers;
    std::int32_t n_tokens = 0;
    std::int32_t first = 0;
    bool half_inputs = false;   // x is FP16, for a GEMM that takes it so; the CPU's and the portable one do not
    bool tensor_cores = false;  // with half_inputs: the steps may use FP16 matrix instructions; q then goes by x
};

namespace cpu {

// Bytes of 64-byte aligned scratch that run_prefill wants for each block.
std::size_t prefill_scratch_bytes(const ModelConfig& config);
// Runs block `block` of `n_blocks` of one step. All blocks of a step must return before the next step begins.
void run_prefill(const PrefillChunk& chunk, const PrefillStep& step, std::int32_t block, std::int32_t n_blocks,
                 void* scratch);

}  // namespace cpu

namespace cuda {

// Enqueues one step on `stream` (a cudaStream_t). Returns a cudaError_t, 0 for success. Declared always, defined in
// builds with CUDA.
int launch_prefill(const PrefillChunk& chunk, const PrefillStep& step, void* stream);
// Loads the kernels, so that no later launch does.
int prepare_prefill();
// Whether the current GPU and this build's code for it have what `tensor_cores` asks for.
bool has_tensor_cores();

}  // namespace cuda

}  // namespace vigil::device
