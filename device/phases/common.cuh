// What several phases share: the token's context, gathering an input vector, and the row-split matrix-vector product.
#pragma once

#include <math.h>

#include "device/model.h"
#include "device/seams/machine.cuh"

namespace vigil::device {

// The token under way as DecodeState in device memory has it: for kernels that each run one step.
VIGIL_DEVICE TokenContext read_context(const KernelArgs& a) {
    const DecodeState* s = a.state;
    TokenContext t;
    t.active = ring::load_relaxed(&s->active) != 0;
    t.leave = ring::load_relaxed(&s->leave) != 0;
    t.position = ring::load_relaxed(&s->position);
    t.token = ring::load_relaxed(&s->token);
    t.kv_first = ring::load_relaxed(&s->job.kv_first);
    t.pass = ring::load_relaxed(&s->passes);
    t.n_generated = ring::load_relaxed(&s->n_generated);
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
    return static_cast<const char*>(t.data) + static_cast<std::size_t>(row) * row_bytes(t.format, t.cols);
}

// Works out what falls to this block, once per kernel, a thread each; the block synchronises before it is used.
template <class M>
VIGIL_DEVICE void prepare_shares(const M& m, const KernelArgs& a) {
    const int heads = head_rows(a.config);
    for (int i = m.team.thread(); i < 4; i += m.team.n_threads()) {
        const int rows = i == 0   ? heads + 2 * kv_rows(a.config)
                         : i == 1 ? heads
                         : i == 2 ? a.config.dim
                                  : a.config.ffn_dim;
        const Range mine = share(rows, m.team.block(), m.team.n_blocks());
        BlockShares& shares = m.scratch()->shares;
        (i == 0 ? shares.qkv : i == 1 ? shares.heads : i == 2 ? shares.residual : shares.hidden) = mine;
    }
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

// Epochs of a vector that each layer uses once, and of the residual: nth 0 is the embedding's, 2 * layer + 1 comes
// after attention, 2 * layer + 2 after the feed-forward. Memory that was never written has epoch 0.
VIGIL_DEVICE std::uint32_t layer_epoch(const KernelArgs& a, const TokenContext& t, int layer) {
    return t.pass * static_cast<std::uint32_t>(a.config.n_layers) + static_cast<std::uint32_t>(layer) + 1;
}
VIGIL_DEVICE std::uint32_t residual_epoch(const KernelArgs& a, const TokenContext& t, int nth) {
    return t.pass * static_cast<std::uint32_t>(2 * a.config.n_layers + 1) + static_cast<std::uint32_t>(nth) + 1;
}

// use(i, words i … i + 3) for i = 0, 4 … n - 4, each by one thread; the words are those at source(i). Several looks are
// under way at once: one latency instead of one per four words.
template <int kLooks, class M, class Source, class Use>
VIGIL_DEVICE void take_all(M& m, int n, const Awaited& awaited, Source&& source, Use&& use) {
    const int step = 4 * m.team.n_threads();
    for (int first = 4 * m.team.thread(); first < n; first += kLooks * step) {
        Quad quads[kLooks];
        VIGIL_UNROLL
        for (int u = 0; u < kLooks; ++u)
            if (first + u * step < n) quads[u] = M::Team::load_quad(source(first + u * step));
        VIGIL_UNROLL
        for (int u = 0; u < kLooks; ++u) {
            const int i = first + u * step;
            if (i < n) use(i, m.complete4(quads[u], source(i), awaited));
        }
    }
}

// The input of a projection. Behind an RMSNorm it is the vector times the norm's weight: W · (x_i / rms * weight_i) is
// (W · (x_i * weight_i)) / rms, so that the norm's reduction is not waited for before the products begin.
struct Input {
    const float* x;  // in shared memory if it fits
    int normed;      // columns of an input behind a norm, whose warps' sums of squares are in BlockScratch; or 0
    float eps;
};

// What the products of an input are to be multiplied by: 1 / sqrt(mean(x²) + eps), or 1. To be asked for behind the
// first product, so that its chain of additions runs beside the product's.
template <class M>
VIGIL_DEVICE float scale_of(const M& m, const Input& in) {
    if (in.normed == 0) return 1.0f;
    return inverse_sqrt(m.team, sum_of_warps(m, m.scratch()->reduce) / static_cast<float>(in.normed) + in.eps);
}

// Where a block keeps an input of n floats.
template <class M>
VIGIL_DEVICE float* input_area(const M& m, const KernelArgs& a, int n) {
    return n <= area_floats(a) ? m.area() : a.act.overflow + static_cast<std::size_t>(m.team.block()) * n;
}

template <class M>
VIGIL_DEVICE Input gather(M& m, const KernelArgs& a, const float* from, int n, const Awaited& awaited) {
    float* to = input_area(m, a, n);
    m.team.sync();  // nobody reads the last phase's input any more
    take_all<M::Team::kLooksInFlight>(
        m, n, awaited, [&](int i) { return from + i; },
        [&](int i, const Quad& quad) {
            VIGIL_UNROLL
            for (int j = 0; j < 4; ++j) to[i + j] = untagged(quad.word[j]);
        });
    m.trace_gathered(a);
    m.team.sync();
    return {to, 0, 0.0f};
}

// Each block computes the norm for itself, which is cheaper than one more exchange.
template <class M>
VIGIL_DEVICE Input gather_normed(M& m, const KernelArgs& a, const float* weight, const Awaited& awaited) {
    const int n = a.config.dim;
    float* to = m.area();
    float sum = 0.0f;
    m.team.sync();  // nobody reads the last phase's input any more
    take_all<M::Team::kLooksInFlight>(
        m, n, awaited, [&](int i) { return a.act.residual + i; },
        [&](int i, const Quad& quad) {
            VIGIL_UNROLL
            for (int j = 0; j < 4; ++j) {
                const float v = untagged(quad.word[j]);
                to[i + j] = v * weight[i + j];
                sum = fused(m.team, v, v, sum);
            }
        });
    m.trace_gathered(a);
    float* per_warp = m.scratch()->reduce;
    sum = m.team.lane_sum(sum);
    if (m.team.lane() == 0) per_warp[m.team.warp()] = sum;
    m.team.sync();  // for the vector and the sums at once
    return {to, n, a.config.norm_eps};
}

// Up to three matrices of equal width, their rows taken as one, and the share of them that falls to this block. The
// Tensors are in shared memory: a pointer to a kernel's argument would make the compiler copy all of them.
struct BlockRows {
    const Tensor* first;
    const Tensor* second;  // or null
    const Tensor* third;   // or null
    Range rows;

    struct Row {
        const Tensor* matrix;
        int index;
    };
    VIGIL_DEVICE Row at(int row) const {
        if (row < first->rows) return {first, row};
        row -= first->rows;
        if (row < second->rows) return {second, row};
        return {third, row - second->rows};
    }
};

// A warp on its way through the block's rows: the first weights of its next row, and what will be added to that row's
// product, are under way before its input, or the row before it, is done with.
template <class M>
struct RowCursor {
    int row;
    float addend;
    typename M::Team::Ahead ahead;
};

template <class M, class Addend>
VIGIL_DEVICE void start_row(M& m, const BlockRows& b, RowCursor<M>& cursor, Addend&& addend) {
    if (cursor.row >= b.rows.end) return;
    const BlockRows::Row row = b.at(cursor.row);
    start_row(m.team, row_pointer(*row.matrix, row.index), row.matrix->cols, cursor.ahead);
    if (m.team.lane() == 0) cursor.addend = addend(cursor.row);
}

// Asks for a warp's first weights. To be called before the wait for the input. addend(row) is what is added to the
// row's product, asked for in one lane.
template <class M, class Addend>
VIGIL_DEVICE RowCursor<M> start(M& m, const BlockRows& b, Addend&& addend) {
    RowCursor<M> cursor{b.rows.begin + m.team.warp(), 0.0f, {}};
    start_row(m, b, cursor, addend);
    return cursor;
}

// done(row, W[row] · x * scale + addend) for all of the block's rows, by one lane per row.
template <class M, class Addend, class Done>
VIGIL_DEVICE void multiply(M& m, const BlockRows& b, RowCursor<M>& cursor, const Input& in, Addend&& addend,
                           Done&& done) {
    float scale = 0.0f;
    for (bool first = true; cursor.row < b.rows.end; first = false) {
        const int row = cursor.row;
        const BlockRows::Row at = b.at(row);
        const float product = finish_row(m.team, cursor.ahead, at.matrix->format, row_pointer(*at.matrix, at.index),
                                         at.matrix->cols, in.x);
        if (first) scale = scale_of(m, in);
        const float sum = fused(m.team, product, scale, cursor.addend);
        cursor.row += m.team.n_warps();
        start_row(m, b, cursor, addend);
        if (m.team.lane() == 0) done(row, sum);
    }
}

// The same rows of two matrices of equal shape, whose products belong together.
struct RowPairs {
    const Tensor& first;
    const Tensor& second;
    Range rows;
};

template <class M>
struct PairCursor {
    int row;
    typename M::Team::Ahead first;
    typename M::Team::Ahead second;
};

template <class M>
VIGIL_DEVICE void start_pair(M& m, const RowPairs& pairs, PairCursor<M>& cursor) {
    if (cursor.row >= pairs.rows.end) return;
    start_row(m.team, row_pointer(pairs.first, cursor.row), pairs.first.cols, cursor.first);
    start_row(m.team, row_pointer(pairs.second, cursor.row), pairs.first.cols, cursor.second);
}

template <class M>
VIGIL_DEVICE PairCursor<M> start(M& m, const RowPairs& pairs) {
    PairCursor<M> cursor{pairs.rows.begin + m.team.warp(), {}, {}};
    start_pair(m, pairs, cursor);
    return cursor;
}

// done(row, first[row] · x * scale, second[row] · x * scale) for all of the block's rows, by one lane per row.
template <class M, class Done>
VIGIL_DEVICE void multiply(M& m, const RowPairs& pairs, PairCursor<M>& cursor, const Input& in, Done&& done) {
    const TensorFormat format = pairs.first.format;
    const int cols = pairs.first.cols;
    float scale = 0.0f;
    for (bool first = true; cursor.row < pairs.rows.end; first = false) {
        const int row = cursor.row;
        const float f = finish_row(m.team, cursor.first, format, row_pointer(pairs.first, row), cols, in.x);
        const float s = finish_row(m.team, cursor.second, format, row_pointer(pairs.second, row), cols, in.x);
        if (first) scale = scale_of(m, in);
        cursor.row += m.team.n_warps();
        start_pair(m, pairs, cursor);
        if (m.team.lane() == 0) done(row, f * scale, s * scale);
    }
}

}  // namespace vigil::device
