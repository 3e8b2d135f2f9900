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
    // Few blocks hold rows of more than one matrix: the first one's are on their way early, the others are prefetched.
    const int leading = q.begin < q.end ? 0 : k.begin < k.end ? 1 : 2;
    const Tensor& leading_matrix = leading == 0 ? w.wq : leading == 1 ? w.wk : w.wv;
    BlockRows<M> block{leading_matrix, leading == 0 ? q : leading == 1 ? k : v, {}};
    start(m, block);
    if (leading < 1) prefetch_rows(m, w.wk, k);
    if (leading < 2) prefetch_rows(m, w.wv, v);

    m.await(ring::Phase::kQkv, layer);
    const NormedInput in = gather_normed(m, a.act.residual, a.config.dim, w.attn_norm, a.config.norm_eps);
    const auto store_to = [&](const float* bias, float* out) {
        return [=](int r, float product) {
            const float y = product * in.scale;
            out[r] = bias != nullptr ? y + bias[r] : y;
        };
    };
    const float* leading_bias = leading == 0 ? w.bq : leading == 1 ? w.bk : w.bv;
    finish(m, block, in.x, store_to(leading_bias, a.act.qkv + (leading == 0 ? 0 : leading == 1 ? n_q : n_q + n_kv)));
    if (leading < 1) gemv_rows(m, w.wk, k, in.x, store_to(w.bk, a.act.qkv + n_q));
    if (leading < 2) gemv_rows(m, w.wv, v, in.x, store_to(w.bv, a.act.qkv + n_q + n_kv));
    m.arrive();
}

}  // namespace vigil::device
