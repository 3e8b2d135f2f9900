// Embedding of a chunk: residual[t] = embedding[tokens[t]].
//   reads   tokens, embedding rows
//   writes  residual [n_tokens, dim]
//   split   tokens over blocks
#pragma once

#include "device/prefill/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void embed_chunk(M& m, const PrefillChunk& c) {
    const int dim = c.model.config.dim;
    const Tensor& embedding = c.model.weights.token_embedding;
    for (int t = m.team.block(); t < c.n_tokens; t += m.team.n_blocks()) {
        float* out = c.buffers.residual + row_offset(t, dim);
        for (int chunk = m.team.thread(); chunk < dim / 8; chunk += m.team.n_threads()) {
            float values[8];
            load_weights8(m.team, embedding, c.buffers.tokens[t], chunk, values);
            VIGIL_UNROLL
            for (int i = 0; i < 8; ++i) out[8 * chunk + i] = values[i];
        }
    }
}

}  // namespace vigil::device
