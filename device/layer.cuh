// A token through all layers, as the list of its phases. Each phase's file says what it reads, what it publishes and
// how it is split.
#pragma once

#include "device/phases/attention.cuh"
#include "device/phases/embed.cuh"
#include "device/phases/logits.cuh"
#include "device/phases/qkv.cuh"
#include "device/phases/residual_proj.cuh"
#include "device/phases/swiglu.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void decode_layer(M& m, const KernelArgs& a, int layer, const TokenContext& t) {
    const LayerWeights& w = layer_weights(m, layer);
    const auto done = [&](ring::Phase phase) { m.trace_phase(a, t, phase, layer); };
    qkv_proj(m, a, w, layer, t);  // Wqkv · rmsnorm(x), my rows
    done(ring::Phase::kQkv);
    if (layer + 1 < a.config.n_layers) load_layer(m, a, layer + 1);
    attention(m, a, w, layer, t);  // rotate q and k, append k and v, all blocks over the KV length
    done(ring::Phase::kAttention);
    combine_splits(m, a, layer, t);  // my share of the heads from what the blocks found
    done(ring::Phase::kCombine);
    output_proj(m, a, w, layer, t);  // the owner of a row adds it to the residual
    done(ring::Phase::kOutputProj);
    gate_up(m, a, w, layer, t);  // silu(gate) · up
    done(ring::Phase::kGateUp);
    down_proj(m, a, w, layer, t);
    done(ring::Phase::kDown);
}

template <class M>
VIGIL_DEVICE void decode_layers(M& m, const KernelArgs& a, const TokenContext& t) {
    for (int layer = 0; layer < a.config.n_layers; ++layer) decode_layer(m, a, layer, t);
}

template <class M>
VIGIL_DEVICE void decode_token(M& m, const KernelArgs& a, const TokenContext& t) {
    m.trace_token(a, t);
    prepare_rope(m, a, t.position);
    prepare_attention(m, a, t.position);
    load_layer(m, a, 0);
    embed(m, a, t);
    m.team.sync();  // the table and the pointers are there
    m.trace_phase(a, t, ring::Phase::kEmbed, -1);
    decode_layers(m, a, t);
}

}  // namespace vigil::device
