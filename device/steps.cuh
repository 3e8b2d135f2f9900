// The same phases one at a time, for launch and graph dispatch. A step does nothing when no job is active, so that
// tokens may be enqueued before it is known whether they will be wanted.
#pragma once

#include "device/layer.cuh"
#include "device/leader.cuh"

namespace vigil::device {

// Of a token: see step_at in launch.h.
VIGIL_DEVICE int step_index(const ModelConfig& c, ring::Phase phase, int layer) {
    constexpr int kPerLayer = static_cast<int>(ring::Phase::kDown) - static_cast<int>(ring::Phase::kQkv) + 1;
    if (phase == ring::Phase::kDirective) return 0;
    if (phase == ring::Phase::kEmbed) return 1;
    if (layer >= 0) return 2 + layer * kPerLayer + static_cast<int>(phase) - static_cast<int>(ring::Phase::kQkv);
    return 2 + c.n_layers * kPerLayer + static_cast<int>(phase) - static_cast<int>(ring::Phase::kLogits);
}

// A step's record goes to the slot of its number.
template <class M>
VIGIL_DEVICE void skip_trace(const M& m, int records) {
    if (m.team.thread() != 0) return;
    Timeline& line = m.scratch()->timeline;
    line.next = line.next != nullptr && records < line.left ? line.next + records : nullptr;
    line.left -= records;
}

template <class M>
VIGIL_DEVICE void run_phase(M& m, const KernelArgs& a, ring::Phase phase, int layer) {
    if (m.team.thread() == 0) {
        m.scratch()->failed = 0;
        m.scratch()->patience = {};  // nobody waits for others
        m.scratch()->timeline = {};
    }
    prepare_shares(m, a);
    m.team.sync();
    if (phase == ring::Phase::kDirective) {
        if (m.team.thread() == 0) m.scratch()->lease = {};
        if (m.team.block() != 0) return;
        load_state(m, a);
        direct(m, a, Waiting::kNot);
        if (m.team.thread() == 0) say_begun(m, a);
        store_state(m, a);
        return;
    }
    const TokenContext t = read_context(a);
    if (!t.active) return;
    m.trace_token(a, t);
    skip_trace(m, step_index(a.config, phase, layer));
    if (phase == ring::Phase::kAttention) prepare_rope(m, a, t.position);
    if (phase == ring::Phase::kAttention || phase == ring::Phase::kCombine) prepare_attention(m, a, t.position);
    if (layer >= 0) load_layer(m, a, layer);
    m.team.sync();
    const LayerWeights& w = layer_weights(m, layer);
    switch (phase) {
        case ring::Phase::kEmbed:
            embed(m, a, t);
            break;
        case ring::Phase::kQkv:
            qkv_proj(m, a, w, layer, t);
            break;
        case ring::Phase::kAttention:
            attention(m, a, w, layer, t);
            break;
        case ring::Phase::kCombine:
            combine_splits(m, a, layer, t);
            break;
        case ring::Phase::kOutputProj:
            output_proj(m, a, w, layer, t);
            break;
        case ring::Phase::kGateUp:
            gate_up(m, a, w, layer, t);
            break;
        case ring::Phase::kDown:
            down_proj(m, a, w, layer, t);
            break;
        case ring::Phase::kLogits:
            if (t.wants_logits) logits(m, a, t);
            break;
        case ring::Phase::kSample:
            if (m.team.block() != 0) return;
            load_state(m, a);
            finish_token(m, a, t, m.team.thread() == 0 ? request_host_words(a, *leader_state(m)) : HostWords{}, false,
                         false);
            store_state(m, a);
            break;
        default:
            return;
    }
    m.trace_phase(a, t, phase, layer);
}

}  // namespace vigil::device
