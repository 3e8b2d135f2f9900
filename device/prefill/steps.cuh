// The steps of a chunk by their number: what the entries instantiate, the same for every machine.
#pragma once

#include "device/prefill/attention.cuh"
#include "device/prefill/embed.cuh"
#include "device/prefill/gemm.cuh"
#include "device/prefill/rmsnorm.cuh"
#include "device/prefill/rope_append.cuh"
#include "device/prefill/swiglu.cuh"
#include "device/prefill/unpack.cuh"

namespace vigil::device {

template <PrefillOp Op, class M>
VIGIL_DEVICE void run_prefill_op(M& m, const PrefillChunk& c, const PrefillStep& s) {
    if constexpr (Op == PrefillOp::kEmbed) embed_chunk(m, c);
    if constexpr (Op == PrefillOp::kNorm) rmsnorm_chunk(m, c, s.norm);
    if constexpr (Op == PrefillOp::kGemm) gemm_chunk(m, s.gemm);
    if constexpr (Op == PrefillOp::kRopeAppend) rope_append_chunk(m, c, s.layer);
    if constexpr (Op == PrefillOp::kAttention) attention_chunk(m, c, s.layer);
    if constexpr (Op == PrefillOp::kSwiglu) swiglu_chunk(m, c);
    if constexpr (Op == PrefillOp::kUnpack) unpack_matrix(m, s.gemm.w, s.halves);
}

// Bytes of block-shared scratch that a step wants; `gemm_floats` is the machine's GemmTile::kAreaFloats.
inline std::size_t prefill_shared_bytes(PrefillOp op, const ModelConfig& config, int gemm_floats) {
    int floats = 0;
    if (op == PrefillOp::kGemm) floats = gemm_floats;
    if (op == PrefillOp::kRopeAppend) floats = config.rotary_dim;
    if (op == PrefillOp::kAttention) floats = AttentionTile(config.head_dim).area_floats(config.head_dim);
    return sizeof(BlockScratch) + sizeof(float) * static_cast<std::size_t>(floats);
}

}  // namespace vigil::device
