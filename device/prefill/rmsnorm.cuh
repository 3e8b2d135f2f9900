// RMSNorm of a chunk: x[t, i] = residual[t, i] / sqrt(mean(residual[t]²) + eps) * norm[i].
//   reads   residual [n_tokens, dim]
//   writes  x [n_tokens, dim], FP32 or FP16
//   split   tokens over blocks
#pragma once

#include "device/prefill/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void rmsnorm_chunk(M& m, const PrefillChunk& c, const float* norm) {
    const int dim = c.model.config.dim;
    for (int t = m.team.block(); t < c.n_tokens; t += m.team.n_blocks()) {
        const float* row = c.buffers.residual + row_offset(t, dim);
        float sum = 0.0f;
        for (int i = m.team.thread(); i < dim; i += m.team.n_threads()) sum = fused(m.team, row[i], row[i], sum);
        const float scale = 1.0f / sqrtf(block_sum(m, sum) / static_cast<float>(dim) + c.model.config.norm_eps);
        for (int i = m.team.thread(); i < dim; i += m.team.n_threads())
            put_input(m, c, row_offset(t, dim) + static_cast<std::size_t>(i), row[i] * scale * norm[i]);
    }
}

}  // namespace vigil::device
