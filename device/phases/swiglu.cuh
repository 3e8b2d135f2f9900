// Gate and up projection with SwiGLU: hidden[r] = silu(Wgate[r]·x) * (Wup[r]·x), x = rmsnorm(residual).
//   reads      residual [dim]
//   publishes  hidden [ffn_dim]
//   split      rows; who multiplies a row of one matrix has the same row of the other, so that SwiGLU needs no exchange
//   waits for  residual (output projection)
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

VIGIL_DEVICE float silu(float x) {
    return x / (1.0f + expf(-x));
}

template <class M>
VIGIL_DEVICE void gate_up(M& m, const KernelArgs& a, const LayerWeights& w, int layer, const TokenContext& t) {
    const RowPairs rows{w.w_gate, w.w_up, m.scratch()->shares.hidden};
    auto cursor = start(m, rows);
    const auto in = gather_normed(m, a, rows, w.ffn_norm,
                                  Awaited{ring::Phase::kGateUp, layer, residual_epoch(a, t, 2 * layer + 1)});
    const std::uint32_t epoch = layer_epoch(a, t, layer);
    multiply(m, rows, cursor, in,
             [&](int row, float gate, float up) { m.publish(a.act.hidden + row, silu(gate) * up, epoch); });
}

}  // namespace vigil::device
