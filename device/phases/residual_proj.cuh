// The two projections that end in the residual: residual[r] += W[r] · input. After attention W is Wo and the input the
// heads, after the feed-forward W is Wdown and the input hidden.
//   reads      heads [n_heads * head_dim] or hidden [ffn_dim]
//   publishes  residual [dim], one writer per row
//   split      rows
//   waits for  all of the input; by then nobody reads the residual as it was
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

// `nth` use of the residual in this token: what this phase leaves (see residual_epoch). `awaited` is the input's.
template <class M>
VIGIL_DEVICE void add_to_residual(M& m, const KernelArgs& a, const Tensor& w, const float* input,
                                  const Awaited& awaited, const TokenContext& t, int nth) {
    const BlockRows rows{&w, nullptr, nullptr, m.scratch()->shares.residual};
    // Nobody else writes this row; a machine whose blocks skip an input that they have no rows for may look early.
    const Awaited earlier{awaited.phase, awaited.layer, residual_epoch(a, t, nth - 1)};
    const auto before = [&](int row) {
        const float* at = a.act.residual + row;
        return m.complete(M::Team::load_word(at), at, earlier);
    };
    if (rows.blocks && input_floats(w.cols) > area_floats(a))
        return multiply_long(m, a, w, rows.rows, input, awaited, [&](int row, float product) {
            m.publish(a.act.residual + row, before(row) + product, residual_epoch(a, t, nth));
        });
    auto cursor = start(m, rows, before);
    const auto in = gather(m, a, rows, input, awaited);
    const std::uint32_t epoch = residual_epoch(a, t, nth);
    multiply(m, rows, cursor, in, before, [&](int row, float y) { m.publish(a.act.residual + row, y, epoch); });
}

template <class M>
VIGIL_DEVICE void output_proj(M& m, const KernelArgs& a, const LayerWeights& w, int layer, const TokenContext& t) {
    const Awaited heads{ring::Phase::kOutputProj, layer, layer_epoch(a, t, layer)};
    add_to_residual(m, a, w.wo, a.act.heads, heads, t, 2 * layer + 1);
}

template <class M>
VIGIL_DEVICE void down_proj(M& m, const KernelArgs& a, const LayerWeights& w, int layer, const TokenContext& t) {
    const Awaited hidden{ring::Phase::kDown, layer, layer_epoch(a, t, layer)};
    add_to_residual(m, a, w.w_down, a.act.hidden, hidden, t, 2 * layer + 2);
}

}  // namespace vigil::device
