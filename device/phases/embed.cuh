// Token embedding: residual = embedding[token].
//   reads      the token's embedding row
//   publishes  residual [dim]
//   split      by chunks of eight columns
//   waits for  nothing beyond the token's context: all blocks have ended the token before
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void embed(M& m, const KernelArgs& a, const TokenContext& t) {
    const Range chunks = share(a.config.dim / 8, m.team.block(), m.team.n_blocks());
    for (int chunk = chunks.begin + m.team.thread(); chunk < chunks.end; chunk += m.team.n_threads()) {
        float values[8];
        load_weights8(m.team, a.weights.token_embedding, t.token, chunk, values);
        for (int i = 0; i < 8; ++i) m.publish(a.act.residual + 8 * chunk + i, values[i], residual_epoch(a, t, 0));
    }
}

}  // namespace vigil::device
