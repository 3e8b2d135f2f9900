// SwiGLU of a chunk: x[t, i] = silu(gate[t, i]) * up[t, i].
//   reads   gate, up [n_tokens, ffn_dim], rows ffn_stride apart
//   writes  x [n_tokens, ffn_dim], FP32 or FP16
//   split   elements over blocks
#pragma once

#include "device/phases/swiglu.cuh"
#include "device/prefill/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void swiglu_chunk(M& m, const PrefillChunk& c) {
    const auto ffn_dim = static_cast<std::size_t>(c.model.config.ffn_dim);
    const auto stride = static_cast<std::size_t>(ffn_stride(c));
    const std::size_t n = row_offset(c.n_tokens, c.model.config.ffn_dim);
    const std::size_t step = row_offset(m.team.n_blocks(), m.team.n_threads());
    for (std::size_t i = row_offset(m.team.block(), m.team.n_threads()) + static_cast<std::size_t>(m.team.thread());
         i < n; i += step) {
        const std::size_t at = i / ffn_dim * stride + i % ffn_dim;
        put_input(m, c, i, silu(c.buffers.gate[at]) * c.buffers.up[at]);
    }
}

}  // namespace vigil::device
