// A token through all layers, as the list of its phases. Each phase's file says what it reads, what it publishes and
// how it is split.
#pragma once

#include "device/phases/attention.cuh"
#include "device/phases/down.cuh"
#include "device/phases/embed.cuh"
#include "device/phases/logits.cuh"
#include "device/phases/output_proj.cuh"
#include "device/phases/qkv.cuh"
#include "device/phases/swiglu.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void decode_layer(M& m, const KernelArgs& a, int layer, const TokenContext& t) {
    const LayerWeights& w = layer_weights(m, layer);
    qkv_proj(m, a, w, layer);  // Wqkv · rmsnorm(x), my rows
    if (layer + 1 < a.config.n_layers) load_layer(m, a, layer + 1);
    attention(m, a, w, layer, t);  // rotate q and k, append k and v, all blocks over the KV length, combined
    output_proj(m, a, w, layer);   // the owner of a row adds it to the residual
    gate_up(m, a, w, layer);       // silu(gate) · up
    down_proj(m, a, w, layer);
}

template <class M>
VIGIL_DEVICE void decode_layers(M& m, const KernelArgs& a, const TokenContext& t) {
    prepare_rope(m, a, t.position);
    load_layer(m, a, 0);
    embed(m, a, t);  // its exchange makes the table and the pointers visible to the block, too
    for (int layer = 0; layer < a.config.n_layers; ++layer) decode_layer(m, a, layer, t);
}

}  // namespace vigil::device
