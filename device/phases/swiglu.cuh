// Gate and up projection with SwiGLU: hidden[r] = silu(Wgate[r]·x) * (Wup[r]·x), x = rmsnorm(residual).
//   reads      residual [dim]
//   publishes  hidden [ffn_dim]
//   split      rows; a warp takes the same row of both matrices, so that the product needs no exchange
//   waits for  residual (output projection)
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

VIGIL_DEVICE float silu(float x) {
    return x / (1.0f + expf(-x));
}

template <class M>
VIGIL_DEVICE void gate_up(M& m, const KernelArgs& a, const LayerWeights& w, int layer) {
    const Range rows = share(a.config.ffn_dim, m.team.block(), m.team.n_blocks());
    BlockRows<M> gate{w.w_gate, rows, 0, {}};
    BlockRows<M> up{w.w_up, rows, 0, {}};
    start(m, gate);
    m.await(ring::Phase::kGateUp, layer);
    const NormedInput in = gather_normed(m, a.act.residual, a.config.dim, w.ffn_norm, a.config.norm_eps);
    start(m, up);  // beside the first product; held across the wait it would cost too many registers
    while (gate.next < rows.end) {
        const int row = gate.next;
        const float g = finish_next(m, gate, in.x);
        start_next(m, gate);
        const float u = finish_next(m, up, in.x);
        start_next(m, up);
        if (m.team.lane() == 0) a.act.hidden[row] = silu(g * in.scale) * (u * in.scale);
    }
    m.arrive();
}

}  // namespace vigil::device
