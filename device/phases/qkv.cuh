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
VIGIL_DEVICE void qkv_proj(M& m, const KernelArgs& a, const LayerWeights& w, int layer, const TokenContext& t) {
    const int n_q = head_rows(a.config);
    const int n_kv = kv_rows(a.config);
    const BlockRows rows{&w.wq, &w.wk, &w.wv, m.scratch()->shares.qkv};
    const auto bias = [&](int row) {
        const float* of = row < n_q ? w.bq : row < n_q + n_kv ? w.bk : w.bv;
        return of != nullptr ? of[row < n_q ? row : (row - n_q) % n_kv] : 0.0f;
    };
    auto cursor = start(m, rows, bias);
    const auto in =
        gather_normed(m, a, rows, w.attn_norm, Awaited{ring::Phase::kQkv, layer, residual_epoch(a, t, 2 * layer)});
    const std::uint32_t epoch = layer_epoch(a, t, layer);
    multiply(m, rows, cursor, in, bias, [&](int row, float y) { m.publish(a.act.qkv + row, y, epoch); });
}

}  // namespace vigil::device
