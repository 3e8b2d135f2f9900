// Causal attention of a chunk over the KV cache: x[t, h] = softmax(q[t, h] · K^T * scale) · V over positions up to t's.
//   reads   q in qkv (normed and rotated), K and V of positions [0, first + n_tokens)
//   writes  x [n_tokens, n_heads * head_dim], FP32 or FP16
//   split   tiles of query rows over blocks. A row is a token and a query head of one KV head's group, so that the
//   group
//           shares what is loaded of K and V; keys go by in tiles under a running softmax.
#pragma once

#include "device/prefill/common.cuh"

namespace vigil::device {

// How much of Q and of K or V a block holds: as much as 48 KB of shared memory allow for any head size, which is what
// every GPU offers without asking.
struct AttentionTile {
    int rows;         // even
    int keys;         // a multiple of 8
    int head_stride;  // of a row of q, out and v; four floats of padding spread rows over the banks
    int key_stride;   // of a row of the transposed keys and of the scores

    VIGIL_HD explicit AttentionTile(int head_dim) {
        rows = 2048 / head_dim / 2 * 2;
        if (rows > 32) rows = 32;
        keys = 4096 / head_dim / 8 * 8;
        if (keys > 64) keys = 64;
        head_stride = head_dim + 4;
        key_stride = keys + 4;
    }
    VIGIL_HD int kv_floats(int head_dim) const {
        const int transposed = head_dim * key_stride;
        const int plain = keys * head_stride;
        return transposed > plain ? transposed : plain;
    }
    // q, out, K or V, scores, and two numbers per row.
    VIGIL_HD int area_floats(int head_dim) const {
        return 2 * rows * head_stride + kv_floats(head_dim) + rows * key_stride + 2 * rows;
    }
};

// One tile of query rows of one KV head.
template <class M>
VIGIL_DEVICE void attend_tile(M& m, const PrefillChunk& c, int layer, int kv_head, int first_row) {
    const ModelConfig& config = c.model.config;
    const int head_dim = config.head_dim;
    const int per_group = config.n_heads / config.n_kv_heads;
    const AttentionTile tile(head_dim);
    const int left = c.n_tokens * per_group - first_row;
    const int n_rows = left < tile.rows ? left : tile.rows;
    float* q = m.area();
    float* out = q + tile.rows * tile.head_stride;
    float* kv = out + tile.rows * tile.head_stride;
    float* scores = kv + tile.kv_floats(head_dim);
    float* top = scores + tile.rows * tile.key_stride;
    float* total = top + tile.rows;
    const auto token_of = [&](int r) { return (first_row + r) / per_group; };
    const auto head_of = [&](int r) { return kv_head * per_group + (first_row + r) % per_group; };

    // Rows past the end are zero: they cost nothing and change nothing.
    for (int i = m.team.thread(); i < tile.rows * head_dim; i += m.team.n_threads()) {
        const int r = i / head_dim;
        const int d = i % head_dim;
        const bool inside = r < n_rows;
        q[r * tile.head_stride + d] = inside ? c.buffers.qkv[row_offset(token_of(r), qkv_rows(config)) +
                                                             static_cast<std::size_t>(head_of(r) * head_dim + d)] *
                                                   config.attention_scale
                                             : 0.0f;
        out[r * tile.head_stride + d] = 0.0f;
    }
    for (int r = m.team.thread(); r < tile.rows; r += m.team.n_threads()) {
        top[r] = -INFINITY;
        total[r] = 0.0f;
    }

    // Written out: on sm_52 the registers are just enough with the head size at hand.
    const std::size_t cache =
        row_offset(layer * config.n_kv_heads + kv_head, config.max_seq_len) * static_cast<std::size_t>(head_dim);
    const int n_positions = c.first + token_of(n_rows - 1) + 1;
    const int chunks = head_dim / 8;
    for (int begin = 0; begin < n_positions; begin += tile.keys) {
        const int n_keys = n_positions - begin < tile.keys ? n_positions - begin : tile.keys;
        const std::size_t at = cache + row_offset(begin, head_dim);
        m.team.sync();
        for (int i = m.team.thread(); i < tile.keys * chunks; i += m.team.n_threads()) {
            const int key = i % tile.keys;
            const int d = 8 * (i / tile.keys);
            float values[8] = {};
            if (key < n_keys) load_half8(m.team, c.model.kv.k + at + row_offset(key, head_dim) + d, values);
            VIGIL_UNROLL
            for (int j = 0; j < 8; ++j) kv[(d + j) * tile.key_stride + key] = values[j];
        }
        m.team.sync();
        multiply_tile(m.team, q, tile.head_stride, kv, tile.key_stride, scores, tile.key_stride, tile.rows, tile.keys,
                      head_dim, false);
        m.team.sync();

        for (int i = m.team.thread(); i < tile.keys * chunks; i += m.team.n_threads()) {
            const int key = i / chunks;
            const int d = 8 * (i % chunks);
            float values[8] = {};
            if (key < n_keys) load_half8(m.team, c.model.kv.v + at + row_offset(key, head_dim) + d, values);
            VIGIL_UNROLL
            for (int j = 0; j < 8; ++j) kv[key * tile.head_stride + d + j] = values[j];
        }
        for (int r = m.team.warp(); r < tile.rows; r += m.team.n_warps()) {
            float* score = scores + r * tile.key_stride;
            // Position 0 is in the first tile and visible to every row, so the maximum is finite from then on.
            const int visible = r < n_rows ? c.first + token_of(r) + 1 - begin : tile.keys;
            const int n = visible < tile.keys ? visible : tile.keys;
            float highest = -INFINITY;
            for (int key = m.team.lane(); key < n; key += M::Team::kWarpSize) highest = fmaxf(highest, score[key]);
            const float before = top[r];
            const float now = fmaxf(before, m.team.lane_max(highest));
            float sum = 0.0f;
            for (int key = m.team.lane(); key < tile.keys; key += M::Team::kWarpSize) {
                const float weight = key < n ? expf(score[key] - now) : 0.0f;
                score[key] = weight;
                sum += weight;
            }
            sum = m.team.lane_sum(sum);
            m.team.sync_warp();
            const float rescale = expf(before - now);
            for (int d = m.team.lane(); d < head_dim; d += M::Team::kWarpSize) out[r * tile.head_stride + d] *= rescale;
            if (m.team.lane() == 0) {
                total[r] = fused(m.team, total[r], rescale, sum);
                top[r] = now;
            }
        }
        m.team.sync();
        multiply_tile(m.team, scores, tile.key_stride, kv, tile.head_stride, out, tile.head_stride, tile.rows, head_dim,
                      tile.keys, true);
    }
    m.team.sync();
    for (int i = m.team.thread(); i < n_rows * head_dim; i += m.team.n_threads()) {
        const int r = i / head_dim;
        const int d = i % head_dim;
        put_input(m, c,
                  row_offset(token_of(r), head_rows(config)) + static_cast<std::size_t>(head_of(r) * head_dim + d),
                  out[r * tile.head_stride + d] / total[r]);
    }
    m.team.sync();
}

template <class M>
VIGIL_DEVICE void attention_chunk(M& m, const PrefillChunk& c, int layer) {
    const ModelConfig& config = c.model.config;
    const AttentionTile tile(config.head_dim);
    const int tiles = (c.n_tokens * (config.n_heads / config.n_kv_heads) + tile.rows - 1) / tile.rows;
    // The longest first: later tokens see more positions.
    for (int item = m.team.block(); item < tiles * config.n_kv_heads; item += m.team.n_blocks())
        attend_tile(m, c, layer, item % config.n_kv_heads, (tiles - 1 - item / config.n_kv_heads) * tile.rows);
}

}  // namespace vigil::device
