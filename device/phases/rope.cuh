// What happens to one head between the projection and the attention: QK-norm, then rotary position embedding.
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

// The sine and cosine of `position` times the frequency of pair `pair`. The angle is kept as a fraction of a turn in
// 64-bit fixed point, where the product is exact modulo one turn.
template <class M>
VIGIL_DEVICE void rope_angle(const M& m, const KernelArgs& a, int position, int pair, float* sine, float* cosine) {
    const std::uint64_t turns = a.weights.rope_turns[pair] * static_cast<std::uint64_t>(position);
    // The top 32 bits, signed: half a turn either way keeps the float's precision near zero.
    const auto signed_turns = static_cast<std::int32_t>(static_cast<std::uint32_t>(turns >> 32));
    turn_sincos(m.team, static_cast<float>(signed_turns) * 0x1p-32f, sine, cosine);
    *sine *= a.config.rope_scale;
    *cosine *= a.config.rope_scale;
}

// Fills the block's table of sines and cosines for `position`: the same for all layers of a token.
template <class M>
VIGIL_DEVICE void prepare_rope(const M& m, const KernelArgs& a, int position) {
    for (int pair = m.team.thread(); pair < a.config.rotary_dim / 2; pair += m.team.n_threads())
        rope_angle(m, a, position, pair, &m.scratch()->rope[2 * pair], &m.scratch()->rope[2 * pair + 1]);
}

// RMSNorm of each of `n_heads` heads at `heads` [n_heads, head_dim], in place; nothing if `norm` is null. All threads
// of the block; ends with the heads visible to all.
template <class M>
VIGIL_DEVICE void norm_heads(M& m, const KernelArgs& a, float* heads, int n_heads, const float* norm) {
    if (norm == nullptr) return;
    const int head_dim = a.config.head_dim;
    for (int h = m.team.warp(); h < n_heads; h += m.team.n_warps()) {
        float* x = heads + h * head_dim;
        float sum = 0.0f;
        for (int i = m.team.lane(); i < head_dim; i += M::Team::kWarpSize) sum = fused(m.team, x[i], x[i], sum);
        const float mean = m.team.lane_sum(sum) / static_cast<float>(head_dim);
        const float scale = 1.0f / sqrtf(mean + a.config.norm_eps);
        for (int i = m.team.lane(); i < head_dim; i += M::Team::kWarpSize) x[i] = x[i] * scale * norm[i];
    }
    m.team.sync();
}

VIGIL_DEVICE void rotate_pair(float& first, float& second, float sine, float cosine) {
    const float u = first;
    const float v = second;
    first = u * cosine - v * sine;
    second = u * sine + v * cosine;
}

// Rotates `n_heads` heads at `heads` [n_heads, head_dim], in shared memory, in place, by the block's table. All threads
// of the block; ends with the heads visible to all.
template <class M>
VIGIL_DEVICE void rotate_heads(M& m, const KernelArgs& a, float* heads, int n_heads) {
    const float* table = m.scratch()->rope;
    const int pairs = a.config.rotary_dim / 2;
    const bool interleaved = a.config.rope_kind == RopeKind::kInterleaved;
    for (int h = m.team.warp(); h < n_heads; h += m.team.n_warps()) {
        float* x = heads + h * a.config.head_dim;
        for (int pair = m.team.lane(); pair < pairs; pair += M::Team::kWarpSize)
            rotate_pair(x[interleaved ? 2 * pair : pair], x[interleaved ? 2 * pair + 1 : pair + pairs], table[2 * pair],
                        table[2 * pair + 1]);
    }
    m.team.sync();
}

// Position `position` of one KV head into the cache as FP16, and beside it to `cached` in shared memory, the key and
// then the value; k (normed and rotated) and v are there, too. `cache` is where the head's positions begin.
template <class M>
VIGIL_DEVICE void append_kv(const M& m, const KernelArgs& a, std::size_t cache, int position, const float* k,
                            const float* v, std::uint16_t* cached) {
    const int head_dim = a.config.head_dim;
    const std::size_t at = cache + static_cast<std::size_t>(position) * head_dim;
    for (int i = m.team.thread(); i < head_dim; i += m.team.n_threads()) {
        a.kv.k[at + i] = cached[i] = to_half(m.team, k[i]);
        a.kv.v[at + i] = cached[head_dim + i] = to_half(m.team, v[i]);
    }
    m.team.sync();
}

}  // namespace vigil::device
