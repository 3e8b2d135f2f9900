// Down projection: residual[r] += Wdown[r] · hidden.
//   reads      hidden [ffn_dim]
//   publishes  residual [dim], one writer per row
//   split      rows
//   waits for  all of hidden; nobody reads the residual between gate_up and the end of this phase
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void down_proj(M& m, const KernelArgs& a, const LayerWeights& w, int layer) {
    const Range rows = share(a.config.dim, m.team.block(), m.team.n_blocks());
    BlockRows<M> block{w.w_down, rows, 0, {}};
    start(m, block);
    m.await(ring::Phase::kDown, layer);
    const float* x = gather(m, a, a.act.hidden, a.config.ffn_dim);
    finish(m, block, x, [&](int r, float y) { a.act.residual[r] = m.team.load_published(&a.act.residual[r]) + y; });
    m.arrive();
}

}  // namespace vigil::device
