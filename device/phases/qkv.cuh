// QKV projection: qkv = [Wq; Wk; Wv] · rmsnorm(residual) + bias. Neither rotated nor normed yet: attention does that
// for the heads it needs, since a head's rows may come from different blocks.
//   reads      residual [dim]
//   publishes  qkv [(n_heads + 2 n_kv_heads) * head_dim]
//   split      rows of the three matrices taken as one
//   waits for  residual (embed, or the layer before)
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void qkv_proj(M& m, const KernelArgs& a, const LayerWeights& w, int layer) {
    const int n_q = head_rows(a.config);
    const int n_kv = kv_rows(a.config);
    const Range rows = share(n_q + 2 * n_kv, m.team.block(), m.team.n_blocks());
    // A row of the three matrices taken as one.
    const auto matrix_of = [&](int row) -> const Tensor& { return row < n_q ? w.wq : row < n_q + n_kv ? w.wk : w.wv; };
    const auto row_within = [&](int row) { return row < n_q ? row : row < n_q + n_kv ? row - n_q : row - n_q - n_kv; };
    const auto bias_of = [&](int row) { return row < n_q ? w.bq : row < n_q + n_kv ? w.bk : w.bv; };
    typename M::Team::Ahead ahead;
    int row = rows.begin + m.team.warp();
    if (row < rows.end) start_row(m.team, row_pointer(matrix_of(row), row_within(row)), a.config.dim, ahead);

    m.await(ring::Phase::kQkv, layer);
    const NormedInput in = gather_normed(m, a.act.residual, a.config.dim, w.attn_norm, a.config.norm_eps);
    while (row < rows.end) {
        const Tensor& matrix = matrix_of(row);
        const char* weights = row_pointer(matrix, row_within(row));
        const float y = finish_row(m.team, ahead, matrix.format, weights, a.config.dim, in.x) * in.scale;
        const float* bias = bias_of(row);
        if (m.team.lane() == 0) a.act.qkv[row] = bias != nullptr ? y + bias[row_within(row)] : y;
        row += m.team.n_warps();
        if (row < rows.end) start_row(m.team, row_pointer(matrix_of(row), row_within(row)), a.config.dim, ahead);
    }
    m.arrive();
}

}  // namespace vigil::device
