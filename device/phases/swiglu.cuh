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
    // The upload gives both matrices the same format, so that one product takes a row of each.
    const Range rows = share(a.config.ffn_dim, m.team.block(), m.team.n_blocks());
    prefetch_rows(m, w.w_gate, rows);
    prefetch_rows(m, w.w_up, rows);
    const auto unit = [&](int r, const char*(&pair)[2]) {
        pair[0] = row_pointer(w.w_gate, r);
        pair[1] = row_pointer(w.w_up, r);
    };
    typename M::Team::template Ahead<2> ahead;
    const char* pair[2];
    const int first = rows.begin + m.team.warp();
    if (first < rows.end) {
        unit(first, pair);
        start_rows(m.team, pair, w.w_gate.cols, ahead);
    }
    m.await(ring::Phase::kGateUp, layer);
    const NormedInput in = gather_normed(m, a.act.residual, a.config.dim, w.ffn_norm, a.config.norm_eps);
    for (int r = first; r < rows.end; r += m.team.n_warps()) {
        unit(r, pair);
        float y[2];
        if (r == first)
            finish_rows(m.team, ahead, w.w_gate.format, pair, w.w_gate.cols, in.x, y);
        else
            dot_rows(m.team, w.w_gate.format, pair, w.w_gate.cols, in.x, y);
        if (m.team.lane() == 0) a.act.hidden[r] = silu(y[0] * in.scale) * (y[1] * in.scale);
    }
    m.arrive();
}

}  // namespace vigil::device
