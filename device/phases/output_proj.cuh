// Output projection: residual[r] += Wo[r] · heads.
//   reads      heads [n_heads * head_dim]
//   publishes  residual [dim], one writer per row
//   split      rows
//   waits for  all of heads; nobody reads the residual between the QKV projection and the end of this phase
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void output_proj(M& m, const KernelArgs& a, const LayerWeights& w, int layer) {
    const Range rows = share(a.config.dim, m.team.block(), m.team.n_blocks());
    BlockRows<M> block{w.wo, rows, 0, {}};
    start(m, block);
    m.await(ring::Phase::kOutputProj, layer);
    const float* x = gather(m, a, a.act.heads, head_rows(a.config));
    finish(m, block, x, [&](int r, float y) { a.act.residual[r] = m.team.load_published(&a.act.residual[r]) + y; });
    m.arrive();
}

}  // namespace vigil::device
