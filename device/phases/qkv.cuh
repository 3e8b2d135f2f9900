// QKV projection: qkv = [Wq; Wk; Wv] · rmsnorm(residual) + bias. Neither rotated nor normed yet: attention does that
// for the heads it needs, since a head's rows may come from different blocks.
//   reads      residual [dim]
//   publishes  qkv [(n_heads + 2 n_kv_heads) * head_dim]
//   split      rows of the three matrices taken as one
//   waits for  residual (embed, or the layer before)
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

// The part of `rows` that falls into a matrix whose rows begin at `first`, relative to it.
VIGIL_DEVICE Range rows_within(Range rows, int first, int count) {
    const int begin = rows.begin > first ? rows.begin - first : 0;
    const int end = rows.end - first < count ? rows.end - first : count;
    return {begin, end};
}

template <class M>
VIGIL_DEVICE void qkv_proj(M& m, const KernelArgs& a, const LayerWeights& w, int layer) {
    const int n_q = head_rows(a.config);
    const int n_kv = kv_rows(a.config);
    const Range rows = share(n_q + 2 * n_kv, m.team.block(), m.team.n_blocks());
    const Range q = rows_within(rows, 0, n_q);
    const Range k = rows_within(rows, n_q, n_kv);
    const Range v = rows_within(rows, n_q + n_kv, n_kv);
    prefetch_rows(m, w.wq, q);
    prefetch_rows(m, w.wk, k);
    prefetch_rows(m, w.wv, v);

    m.await(ring::Phase::kQkv, layer);
    const NormedInput in = gather_normed(m, a.act.residual, a.config.dim, w.attn_norm, a.config.norm_eps);
    const auto project = [&](const Tensor& matrix, Range part, const float* bias, float* out) {
        gemv_rows(m, matrix, part, in.x, [&](int r, float product) {
            const float y = product * in.scale;
            out[r] = bias != nullptr ? y + bias[r] : y;
        });
    };
    project(w.wq, q, w.bq, a.act.qkv);
    project(w.wk, k, w.bk, a.act.qkv + n_q);
    project(w.wv, v, w.bv, a.act.qkv + n_q + n_kv);
    m.arrive();
}

}  // namespace vigil::device
