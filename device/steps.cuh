// The same phases one at a time, for launch and graph dispatch. A step does nothing when no job is active, so that
// tokens may be enqueued before it is known whether they will be wanted.
#pragma once

#include "device/layer.cuh"
#include "device/leader.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void run_phase(M& m, const KernelArgs& a, ring::Phase phase, int layer) {
    if (m.team.thread() == 0) m.scratch()->failed = 0;
    m.team.sync();
    if (phase == ring::Phase::kDirective) {
        Lease lease;
        if (m.team.block() == 0) direct(m, a, lease, Waiting::kNot);
        return;
    }
    const TokenContext t = read_context(a);
    if (!t.active) return;
    if (phase == ring::Phase::kAttention) prepare_rope(m, a, t.position);
    if (layer >= 0) load_layer(m, a, layer);
    m.team.sync();
    switch (phase) {
        case ring::Phase::kEmbed:
            return embed(m, a, t);
        case ring::Phase::kQkv:
            return qkv_proj(m, a, layer_weights(m, layer), layer);
        case ring::Phase::kAttention:
            return attention(m, a, layer_weights(m, layer), layer, t);
        case ring::Phase::kOutputProj:
            return output_proj(m, a, layer_weights(m, layer), layer);
        case ring::Phase::kGateUp:
            return gate_up(m, a, layer_weights(m, layer), layer);
        case ring::Phase::kDown:
            return down_proj(m, a, layer_weights(m, layer), layer);
        case ring::Phase::kLogits:
            if (t.wants_logits) logits(m, a, t);
            return;
        case ring::Phase::kSample:
            if (m.team.block() == 0) finish_token(m, a, t, request_host_words(a), false);
            return;
        default:
            return;
    }
}

}  // namespace vigil::device
