// What stands between the products of a chunk whose inputs are FP16: norm, what happens to heads, SwiGLU. The same
// arithmetic as the portable steps in wider loads; each element is read and written once.
#pragma once

#include "device/phases/rope.cuh"
#include "device/phases/swiglu.cuh"
#include "device/prefill/common.cuh"
#include "device/prefill/sm80/mma.cuh"

namespace vigil::device::sm80 {

constexpr int kElementwiseThreads = 256;

// x[t, i] = residual[t, i] / sqrt(mean(residual[t]²) + eps) * norm[i]; a block per token.
template <class M>
VIGIL_DEVICE void norm_token(M& m, const PrefillChunk& c, const float* norm) {
    const int dim = c.model.config.dim;
    const auto* row = reinterpret_cast<const float4*>(c.buffers.residual + row_offset(m.team.block(), dim));
    auto* x = reinterpret_cast<uint2*>(static_cast<std::uint16_t*>(c.buffers.x) + row_offset(m.team.block(), dim));
    const auto* weight = reinterpret_cast<const float4*>(norm);
    float sum = 0.0f;
    for (int i = m.team.thread(); i < dim / 4; i += m.team.n_threads()) {
        const float4 v = row[i];
        sum = fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum))));
    }
    const float scale = 1.0f / sqrtf(block_sum(m, sum) / static_cast<float>(dim) + c.model.config.norm_eps);
    for (int i = m.team.thread(); i < dim / 4; i += m.team.n_threads()) {
        const float4 v = row[i];
        const float4 w = __ldg(weight + i);
        x[i] = make_uint2(pack_clamped(v.x * scale * w.x, v.y * scale * w.y),
                          pack_clamped(v.z * scale * w.z, v.w * scale * w.w));
    }
}

// One head of one token: bias, RMSNorm over the head if `norm` is there, rotation by `table` [rotary_dim / 2][sine,
// cosine] if it is, to FP16. A warp; `row` is its own shared memory [head_dim].
template <class M>
VIGIL_DEVICE void finish_head(const M& m, const ModelConfig& config, const float* head, const float* bias,
                              const float* norm, const float* table, float* row, std::uint16_t* out) {
    const int head_dim = config.head_dim;
    float sum = 0.0f;
    for (int i = m.team.lane(); i < head_dim; i += 32) {
        const float v = bias != nullptr ? head[i] + bias[i] : head[i];
        row[i] = v;
        sum = fmaf(v, v, sum);
    }
    if (norm != nullptr) {
        const float scale = 1.0f / sqrtf(m.team.lane_sum(sum) / static_cast<float>(head_dim) + config.norm_eps);
        for (int i = m.team.lane(); i < head_dim; i += 32) row[i] = row[i] * scale * norm[i];
    }
    m.team.sync_warp();
    const int n_rotated = table != nullptr ? config.rotary_dim : 0;
    const bool interleaved = config.rope_kind == RopeKind::kInterleaved;
    const auto rotated = [&](int i) {
        if (i >= n_rotated) return row[i];
        const int pairs = n_rotated / 2;
        const bool is_first = interleaved ? i % 2 == 0 : i < pairs;
        const int distance = interleaved ? 1 : pairs;
        const int first_at = is_first ? i : i - distance;
        const int pair = interleaved ? i / 2 : first_at;
        float first = row[first_at];
        float second = row[first_at + distance];
        rotate_pair(first, second, table[2 * pair], table[2 * pair + 1]);
        return is_first ? first : second;
    };
    for (int i = 2 * m.team.lane(); i < head_dim; i += 64)
        *reinterpret_cast<std::uint32_t*>(out + i) = pack_halves(rotated(i), rotated(i + 1));
}

// The heads of a token by the block's number; a warp each.
constexpr int kHeadsPerBlock = kElementwiseThreads / 32;
// The last layer's q is never used, and its part of qkv need not be there.
VIGIL_HD int first_head(const PrefillChunk& c, int layer) {
    return layer + 1 < c.model.config.n_layers ? 0 : c.model.config.n_heads;
}
VIGIL_HD int head_blocks(const PrefillChunk& c, int layer) {
    const int n = c.model.config.n_heads + 2 * c.model.config.n_kv_heads - first_head(c, layer);
    return (n + kHeadsPerBlock - 1) / kHeadsPerBlock;
}

// Biases, QK-norm and RoPE of a token's heads; q goes to x as FP16, K and V to the cache. head_blocks blocks per token.
// `area` is shared memory: the table of angles, then a row per warp.
template <class M>
VIGIL_DEVICE void finish_heads(M& m, const PrefillChunk& c, int layer, float* area) {
    const ModelConfig& config = c.model.config;
    const int blocks = head_blocks(c, layer);
    const int token = m.team.block() / blocks;
    const int position = c.first + token;
    float* table = area;
    for (int pair = m.team.thread(); pair < config.rotary_dim / 2; pair += m.team.n_threads())
        rope_angle(m, c.model, position, pair, &table[2 * pair], &table[2 * pair + 1]);
    m.team.sync();

    const int n_q = config.n_heads;
    const int n_kv = config.n_kv_heads;
    const int head_dim = config.head_dim;
    const int h = first_head(c, layer) + m.team.block() % blocks * kHeadsPerBlock + m.team.warp();
    if (h >= n_q + 2 * n_kv) return;
    const LayerWeights& w = c.model.weights.layers[layer];
    float* row = area + config.rotary_dim + m.team.warp() * head_dim;
    const float* head = c.buffers.qkv + row_offset(token, qkv_rows(config)) + h * head_dim;
    const auto bias = [&](const float* all, int i) { return all != nullptr ? all + i * head_dim : nullptr; };
    const auto place = [&](int kv_head) { return cache_offset(c, layer, kv_head) + row_offset(position, head_dim); };
    if (h < n_q) {
        auto* x = static_cast<std::uint16_t*>(c.buffers.x) + row_offset(token, head_rows(config));
        finish_head(m, config, head, bias(w.bq, h), w.q_norm, table, row, x + h * head_dim);
    } else if (h < n_q + n_kv) {
        const int kv_head = h - n_q;
        finish_head(m, config, head, bias(w.bk, kv_head), w.k_norm, table, row, c.model.kv.k + place(kv_head));
    } else {
        const int kv_head = h - n_q - n_kv;
        finish_head(m, config, head, bias(w.bv, kv_head), nullptr, nullptr, row, c.model.kv.v + place(kv_head));
    }
}

// The sum over groups of `Lanes` neighbouring lanes, all of which the caller has in the same iteration.
template <int Lanes>
VIGIL_DEVICE float group_sum(float v) {
    const unsigned lane = threadIdx.x % 32;
    const unsigned mask = Lanes == 32 ? ~0u : ((1u << Lanes) - 1) << (lane / Lanes * Lanes);
    VIGIL_UNROLL
    for (int offset = Lanes / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(mask, v, offset);
    return v;
}

// Two pairs that rotate: first[i] with second[i].
struct TwoPairs {
    float first[2];
    float second[2];
};

// The pairs 2 * `index` and the one after it of a head at `p`.
VIGIL_DEVICE TwoPairs load_pairs(const float* p, int head_dim, bool interleaved, int index) {
    if (interleaved) {
        const float4 v = *reinterpret_cast<const float4*>(p + 4 * index);
        return {{v.x, v.z}, {v.y, v.w}};
    }
    const float2 a = *reinterpret_cast<const float2*>(p + 2 * index);
    const float2 b = *reinterpret_cast<const float2*>(p + head_dim / 2 + 2 * index);
    return {{a.x, a.y}, {b.x, b.y}};
}

VIGIL_DEVICE void store_pairs(const TwoPairs& v, std::uint16_t* p, int head_dim, bool interleaved, int index) {
    if (interleaved) {
        *reinterpret_cast<uint2*>(p + 4 * index) =
            make_uint2(pack_halves(v.first[0], v.second[0]), pack_halves(v.first[1], v.second[1]));
        return;
    }
    *reinterpret_cast<std::uint32_t*>(p + 2 * index) = pack_halves(v.first[0], v.first[1]);
    *reinterpret_cast<std::uint32_t*>(p + head_dim / 2 + 2 * index) = pack_halves(v.second[0], v.second[1]);
}

// Whether finish_whole_heads<HeadDim> does for this layer what finish_heads does: all of a head is rotated, and if it
// is normed, whole heads fall to the lanes of one warp.
template <int HeadDim>
VIGIL_HD bool has_whole_heads(const ModelConfig& config, bool normed) {
    return config.head_dim == HeadDim && config.rotary_dim == HeadDim && (!normed || 32 % (HeadDim / 4) == 0);
}

// As finish_heads, for heads that are rotated as a whole: two pairs per thread at a time, a block per token. `table` is
// shared memory [HeadDim / 2][sine, cosine].
template <int HeadDim, class M>
VIGIL_DEVICE void finish_whole_heads(M& m, const PrefillChunk& c, int layer, float* table) {
    constexpr int kThreadsPerHead = HeadDim / 4;
    const ModelConfig& config = c.model.config;
    const LayerWeights& w = c.model.weights.layers[layer];
    const bool interleaved = config.rope_kind == RopeKind::kInterleaved;
    const int token = m.team.block();
    const int position = c.first + token;
    const int n_q = config.n_heads;
    const int n_kv = config.n_kv_heads;
    const float* qkv = c.buffers.qkv + row_offset(token, qkv_rows(config));
    const int n_items = (n_q + 2 * n_kv) * kThreadsPerHead;
    const int first_item = first_head(c, layer) * kThreadsPerHead + m.team.thread();
    const auto load = [&](int item) {
        return load_pairs(qkv + item / kThreadsPerHead * HeadDim, HeadDim, interleaved, item % kThreadsPerHead);
    };

    TwoPairs next = {};
    if (first_item < n_items) next = load(first_item);
    for (int pair = m.team.thread(); pair < HeadDim / 2; pair += m.team.n_threads())
        rope_angle(m, c.model, position, pair, &table[2 * pair], &table[2 * pair + 1]);
    m.team.sync();
    for (int item = first_item; item < n_items; item += kElementwiseThreads) {
        TwoPairs v = next;
        if (item + kElementwiseThreads < n_items) next = load(item + kElementwiseThreads);
        const int h = item / kThreadsPerHead;
        const int index = item % kThreadsPerHead;
        const bool is_q = h < n_q;
        const bool is_v = h >= n_q + n_kv;
        const int own = is_q ? h : is_v ? h - n_q - n_kv : h - n_q;  // among its kind
        const float* bias = is_q ? w.bq : is_v ? w.bv : w.bk;
        if (bias != nullptr) {
            const TwoPairs b = load_pairs(bias + own * HeadDim, HeadDim, interleaved, index);
            VIGIL_UNROLL
            for (int i = 0; i < 2; ++i) {
                v.first[i] += b.first[i];
                v.second[i] += b.second[i];
            }
        }
        if constexpr (32 % kThreadsPerHead == 0) {
            const float* norm = is_q ? w.q_norm : is_v ? nullptr : w.k_norm;
            if (norm != nullptr) {
                float sum = 0.0f;
                VIGIL_UNROLL
                for (int i = 0; i < 2; ++i) sum = fmaf(v.first[i], v.first[i], fmaf(v.second[i], v.second[i], sum));
                sum = group_sum<kThreadsPerHead>(sum);
                const float scale = 1.0f / sqrtf(sum / static_cast<float>(HeadDim) + config.norm_eps);
                const TwoPairs n = load_pairs(norm, HeadDim, interleaved, index);
                VIGIL_UNROLL
                for (int i = 0; i < 2; ++i) {
                    v.first[i] = v.first[i] * scale * n.first[i];
                    v.second[i] = v.second[i] * scale * n.second[i];
                }
            }
        }
        if (!is_v) {
            const float4 angles = *reinterpret_cast<const float4*>(table + 4 * index);
            rotate_pair(v.first[0], v.second[0], angles.x, angles.y);
            rotate_pair(v.first[1], v.second[1], angles.z, angles.w);
        }
        const std::size_t cached = cache_offset(c, layer, own) + row_offset(position, HeadDim);
        auto* x = static_cast<std::uint16_t*>(c.buffers.x) + row_offset(token, head_rows(config)) + own * HeadDim;
        store_pairs(v, is_q ? x : (is_v ? c.model.kv.v : c.model.kv.k) + cached, HeadDim, interleaved, index);
    }
}

// x[t, i] = silu(gate[t, i]) * up[t, i]; a block per token and run of 8 * kElementwiseThreads elements.
template <class M>
VIGIL_DEVICE void swiglu_run(const M& m, const PrefillChunk& c) {
    const int ffn_dim = c.model.config.ffn_dim;
    const int runs = (ffn_dim / 8 + kElementwiseThreads - 1) / kElementwiseThreads;
    const int token = m.team.block() / runs;
    const int i = 8 * (m.team.block() % runs * kElementwiseThreads + m.team.thread());
    if (i >= ffn_dim) return;
    const std::size_t at = row_offset(token, ffn_stride(c)) + static_cast<std::size_t>(i);
    const auto* gate = reinterpret_cast<const float4*>(c.buffers.gate + at);
    const auto* up = reinterpret_cast<const float4*>(c.buffers.up + at);
    const float4 g[2] = {gate[0], gate[1]};
    const float4 u[2] = {up[0], up[1]};
    std::uint32_t packed[4];
    VIGIL_UNROLL
    for (int j = 0; j < 2; ++j) {
        packed[2 * j] = pack_clamped(silu(g[j].x) * u[j].x, silu(g[j].y) * u[j].y);
        packed[2 * j + 1] = pack_clamped(silu(g[j].z) * u[j].z, silu(g[j].w) * u[j].w);
    }
    auto* x = static_cast<std::uint16_t*>(c.buffers.x) + row_offset(token, ffn_dim) + i;
    *reinterpret_cast<uint4*>(x) = make_uint4(packed[0], packed[1], packed[2], packed[3]);
}

}  // namespace vigil::device::sm80
