// What the prefill steps share: rows of the chunk's buffers, and the GEMM input in either precision.
#pragma once

#include "device/phases/common.cuh"
#include "device/prefill_launch.h"

namespace vigil::device {

// Sizes of the machine's GEMM tile; specialised in gemm_cuda.cuh and gemm_cpu.h.
template <class Team>
struct GemmTile;

VIGIL_DEVICE int qkv_rows(const ModelConfig& c) {
    return head_rows(c) + 2 * kv_rows(c);
}

VIGIL_DEVICE std::size_t row_offset(int row, int stride) {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(stride);
}

// Floats between a row of gate or up and the next.
VIGIL_DEVICE int ffn_stride(const PrefillChunk& c) {
    return c.buffers.ffn_stride != 0 ? c.buffers.ffn_stride : c.model.config.ffn_dim;
}

// Index of the first value of a head's K or V in the cache.
VIGIL_DEVICE std::size_t cache_offset(const PrefillChunk& c, int layer, int kv_head) {
    const ModelConfig& config = c.model.config;
    return row_offset(layer * config.n_kv_heads + kv_head, config.max_seq_len) *
           static_cast<std::size_t>(config.head_dim);
}

// The largest finite FP16: what lies beyond is clamped, since one infinity would spoil all later positions.
constexpr float kMaxHalf = 65504.0f;

// x[at] = v, in the precision that the next GEMM takes.
template <class M>
VIGIL_DEVICE void put_input(const M& m, const PrefillChunk& c, std::size_t at, float v) {
    if (c.half_inputs)
        static_cast<std::uint16_t*>(c.buffers.x)[at] = to_half(m.team, fminf(fmaxf(v, -kMaxHalf), kMaxHalf));
    else
        static_cast<float*>(c.buffers.x)[at] = v;
}

}  // namespace vigil::device
