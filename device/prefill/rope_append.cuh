// What stands between the QKV projection and the attention of a chunk: biases, QK-norm, RoPE; K and V go to the cache.
//   reads   qkv [n_tokens, (n_heads + 2 n_kv_heads) * head_dim], raw projections
//   writes  q in qkv, normed and rotated; K and V of the chunk's positions in the cache as FP16
//   split   tokens over blocks
// The last layer's q is never used: nothing is computed for it, and its part of qkv need not be there.
#pragma once

#include "device/phases/rope.cuh"
#include "device/prefill/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void add_bias(const M& m, float* x, const float* bias, int n) {
    if (bias == nullptr) return;
    for (int i = m.team.thread(); i < n; i += m.team.n_threads()) x[i] += bias[i];
}

// Rotates heads by the angles in `table` [rotary_dim / 2][sine, cosine].
template <class M>
VIGIL_DEVICE void rotate_by_table(const M& m, const ModelConfig& config, float* heads, int n_heads,
                                  const float* table) {
    const int pairs = config.rotary_dim / 2;
    const bool interleaved = config.rope_kind == RopeKind::kInterleaved;
    for (int i = m.team.thread(); i < n_heads * pairs; i += m.team.n_threads()) {
        const int pair = i % pairs;
        float* x = heads + i / pairs * config.head_dim;
        rotate_pair(x[interleaved ? 2 * pair : pair], x[interleaved ? 2 * pair + 1 : pair + pairs], table[2 * pair],
                    table[2 * pair + 1]);
    }
}

template <class M>
VIGIL_DEVICE void rope_append_chunk(M& m, const PrefillChunk& c, int layer) {
    const ModelConfig& config = c.model.config;
    const LayerWeights& w = c.model.weights.layers[layer];
    const bool needs_q = layer + 1 < config.n_layers;
    const int n_q = head_rows(config);
    const int n_kv = kv_rows(config);
    float* table = m.area();
    for (int t = m.team.block(); t < c.n_tokens; t += m.team.n_blocks()) {
        const int position = c.first + t;
        float* q = c.buffers.qkv + row_offset(t, qkv_rows(config));
        float* k = q + n_q;
        float* v = k + n_kv;
        for (int pair = m.team.thread(); pair < config.rotary_dim / 2; pair += m.team.n_threads())
            rope_angle(m, c.model, position, pair, &table[2 * pair], &table[2 * pair + 1]);
        if (needs_q) add_bias(m, q, w.bq, n_q);
        add_bias(m, k, w.bk, n_kv);
        add_bias(m, v, w.bv, n_kv);
        m.team.sync();
        if (needs_q) norm_heads(m, c.model, q, config.n_heads, w.q_norm);
        norm_heads(m, c.model, k, config.n_kv_heads, w.k_norm);
        if (needs_q) rotate_by_table(m, config, q, config.n_heads, table);
        rotate_by_table(m, config, k, config.n_kv_heads, table);
        m.team.sync();
        for (int i = m.team.thread(); i < n_kv; i += m.team.n_threads()) {
            const std::size_t at = cache_offset(c, layer, i / config.head_dim) + row_offset(position, config.head_dim) +
                                   static_cast<std::size_t>(i % config.head_dim);
            c.model.kv.k[at] = to_half(m.team, k[i]);
            c.model.kv.v[at] = to_half(m.team, v[i]);
        }
        m.team.sync();  // the table is written anew for the next token
    }
}

}  // namespace vigil::device
