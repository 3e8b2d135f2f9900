// What several phases share: the token's context, gathering an input vector, and the row-split matrix-vector product.
#pragma once

#include <math.h>

#include "device/model.h"
#include "device/seams/machine.cuh"

namespace vigil::device {

// What every block must know of the token under way. Read once per token, after the exchange that made it true.
struct TokenContext {
    bool active;
    bool leave;
    bool wants_logits;  // this token's logits are sampled or scored
    int position;       // of the token that is fed
};

VIGIL_DEVICE TokenContext read_context(const KernelArgs& a) {
    const DecodeState* s = a.state;
    TokenContext t;
    t.active = ring::load_relaxed(&s->active) != 0;
    t.leave = ring::load_relaxed(&s->leave) != 0;
    t.position = ring::load_relaxed(&s->position);
    const bool last_of_prompt = t.position + 1 >= ring::load_relaxed(&s->job.n_prompt);
    t.wants_logits = last_of_prompt || (ring::load_relaxed(&s->job.flags) & ring::kJobScore) != 0;
    return t;
}

// Eight FP16 values of the KV cache at once.
template <class Team>
VIGIL_DEVICE void load_half8(const Team& team, const std::uint16_t* p, float (&out)[8]) {
    unpack_half8(team, fetch_half8(team, p), out);
}

VIGIL_DEVICE int head_rows(const ModelConfig& c) {
    return c.n_heads * c.head_dim;
}
VIGIL_DEVICE int kv_rows(const ModelConfig& c) {
    return c.n_kv_heads * c.head_dim;
}

VIGIL_DEVICE const char* row_pointer(const Tensor& t, int row) {
    return static_cast<const char*>(t.data) + static_cast<std::size_t>(row) * t.cols * bytes_per_weight(t.format);
}

// Brings the first bytes of the rows this block is about to read into L2, so that memory works while we wait.
template <class M>
VIGIL_DEVICE void prefetch_rows(const M& m, const Tensor& t, Range rows) {
    using Team = typename M::Team;
    if (Team::kPrefetchBytes == 0 || rows.begin >= rows.end) return;
    const char* begin = row_pointer(t, rows.begin);
    const long long bytes = row_pointer(t, rows.end) - begin;
    const long long wanted = bytes < Team::kPrefetchBytes ? bytes : static_cast<long long>(Team::kPrefetchBytes);
    for (long long at = static_cast<long long>(m.team.thread()) * Team::kPrefetchLine; at < wanted;
         at += static_cast<long long>(m.team.n_threads()) * Team::kPrefetchLine)
        Team::prefetch(begin + at);
}

// The weights of `layer`, once load_layer has fetched them and the block has synchronised since.
template <class M>
VIGIL_DEVICE const LayerWeights& layer_weights(const M& m, int layer) {
    return m.scratch()->layers[layer & 1];
}

// Copies a layer's pointers into shared memory: read where they are needed, each look-up would cost the L2's latency
// behind every exchange. The last threads do it, since the first one is about to wait for the others.
template <class M>
VIGIL_DEVICE void load_layer(const M& m, const KernelArgs& a, int layer) {
    constexpr int kWords = sizeof(LayerWeights) / sizeof(std::uint32_t);
    const auto* from = reinterpret_cast<const std::uint32_t*>(&a.weights.layers[layer]);
    auto* to = reinterpret_cast<std::uint32_t*>(&m.scratch()->layers[layer & 1]);
    for (int i = m.team.n_threads() - 1 - m.team.thread(); i < kWords; i += m.team.n_threads()) to[i] = from[i];
}

// Floats that fit into the phases' shared area.
VIGIL_DEVICE int area_floats(const KernelArgs& a) {
    return (a.plan.shared_bytes - static_cast<int>(sizeof(BlockScratch))) / static_cast<int>(sizeof(float));
}

// A published vector where all threads can read it fast: in shared memory, or in place if it does not fit.
template <class M>
VIGIL_DEVICE const float* gather(M& m, const KernelArgs& a, const float* from, int n) {
    if (n > area_floats(a)) return from;
    copy_published(m.team, m.area(), from, n);
    m.team.sync();
    return m.area();
}

// The input of a projection behind an RMSNorm. W · (x_i / rms * weight_i) is (W · (x_i * weight_i)) / rms: the norm's
// scale multiplies the result, so that its reduction is not waited for before the products begin.
struct NormedInput {
    const float* x;  // shared memory: the vector times the norm's weight
    float scale;     // 1 / sqrt(mean(x²) + eps)
};

// Each block computes the norm for itself, which is cheaper than one more exchange.
template <class M>
VIGIL_DEVICE NormedInput gather_normed(M& m, const float* from, int n, const float* weight, float eps) {
    const float sum = m.team.lane_sum(copy_weighted(m.team, m.area(), from, weight, n));
    float* per_warp = m.scratch()->reduce;
    if (m.team.lane() == 0) per_warp[m.team.warp()] = sum;
    m.team.sync();  // for the vector and the sums at once
    const float total = sum_of_warps(m, per_warp);
    return {m.area(), 1.0f / sqrtf(total / static_cast<float>(n) + eps)};
}

// The rows of a matrix that fall to this block; its warps take them in turn. The first weights of a warp's next row are
// on their way before its input, or the row before it, is done with.
template <class M>
struct BlockRows {
    const Tensor& w;
    Range rows;
    int next;  // row of this warp
    typename M::Team::Ahead ahead;
};

template <class M>
VIGIL_DEVICE void start_next(const M& m, BlockRows<M>& b) {
    if (b.next < b.rows.end) start_row(m.team, row_pointer(b.w, b.next), b.w.cols, b.ahead);
}

// `b` as {matrix, rows}: asks for the first weights. To be called before the wait for the input.
template <class M>
VIGIL_DEVICE void start(const M& m, BlockRows<M>& b) {
    b.next = b.rows.begin + m.team.warp();
    prefetch_rows(m, b.w, b.rows);
    start_next(m, b);
}

// The product of the warp's next row with x.
template <class M>
VIGIL_DEVICE float finish_next(const M& m, BlockRows<M>& b, const float* x) {
    const float y = finish_row(m.team, b.ahead, b.w.format, row_pointer(b.w, b.next), b.w.cols, x);
    b.next += m.team.n_warps();
    return y;
}

// done(r, W[r]·x) for all of the block's rows, by one lane per row.
template <class M, class Done>
VIGIL_DEVICE void finish(const M& m, BlockRows<M>& b, const float* x, Done&& done) {
    while (b.next < b.rows.end) {
        const int row = b.next;
        const float y = finish_next(m, b, x);
        start_next(m, b);
        if (m.team.lane() == 0) done(row, y);
    }
}

}  // namespace vigil::device
