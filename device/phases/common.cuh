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
    VIGIL_UNROLL_BY(1)
    for (int i = m.team.n_threads() - 1 - m.team.thread_anew(); i < kWords; i += m.team.n_threads()) to[i] = from[i];
}

// A number as an integer of the same order, above 0; 0 for what is not a number. Both zeros are the same.
VIGIL_DEVICE std::uint32_t order_key(float v) {
    const std::uint32_t bits = ring::float_bits(v + 0.0f);
    const std::uint32_t key = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return v == v ? key : 0;
}

VIGIL_DEVICE float number_of_key(std::uint32_t key) {
    return ring::bits_float((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// Where a GPU has an instruction for integers that is one trip through the warp instead of five.
template <class M>
VIGIL_DEVICE float max_in_warp(const M& m, float v) {
    return number_of_key(m.team.lane_highest(order_key(v)));
}

// Floats that fit into the phases' shared area.
VIGIL_DEVICE int area_floats(const KernelArgs& a) {
    return a.plan.area_bytes / static_cast<int>(sizeof(float));
}

// Epochs of a vector that each layer uses once, and of the residual: nth 0 is the embedding's, 2 * layer + 1 comes
// after attention, 2 * layer + 2 after the feed-forward. Memory that was never written has epoch 0.
VIGIL_DEVICE std::uint32_t layer_epoch(const KernelArgs& a, const TokenContext& t, int layer) {
    return t.pass * static_cast<std::uint32_t>(a.config.n_layers) + static_cast<std::uint32_t>(layer) + 1;
}
VIGIL_DEVICE std::uint32_t residual_epoch(const KernelArgs& a, const TokenContext& t, int nth) {
    return t.pass * static_cast<std::uint32_t>(2 * a.config.n_layers + 1) + static_cast<std::uint32_t>(nth) + 1;
}

// How a KV length is cut. A function of the length and the plan only, so that the order of addition is fixed.
struct KvSplit {
    int count;
    int length;
};
VIGIL_DEVICE KvSplit kv_split(const GridPlan& plan, int n_positions) {
    constexpr int kMinLength = 32;  // what a block's groups of lanes take in one round; shorter parts save nothing
    int count = (n_positions + kMinLength - 1) / kMinLength;
    if (count > plan.max_kv_splits) count = plan.max_kv_splits;
    const int length = (n_positions + count - 1) / count;
    return {(n_positions + length - 1) / length, length};
}

// use(i, words i … i + 3) for i = 0, 4 … n - 4, each by one thread; the words are those at source(i). Several looks are
// under way at once: one latency instead of one per four words.
template <int kLooks, class M, class Source, class Use>
VIGIL_DEVICE void take_all(M& m, int n, const Awaited& awaited, Source&& source, Use&& use) {
    const int step = 4 * m.team.n_threads();
    for (int first = 4 * m.team.thread_anew(); first < n; first += kLooks * step) {
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
    const float* x;  // as put_input4 has laid it out, in shared memory if it fits
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
    const int floats = input_floats(n);
    return floats <= area_floats(a) ? m.area() : a.act.overflow + static_cast<std::size_t>(m.team.block()) * floats;
}

// n words that are published at `from`. `blocks`: the matrices that the input is for, or one of them, are stored as
// blocks (see put_input4).
template <class M>
VIGIL_DEVICE Input gather_columns(M& m, const KernelArgs& a, const float* from, int n, const Awaited& awaited,
                                  bool blocks) {
    float* to = input_area(m, a, n);
    m.team.sync();  // nobody reads the last phase's input any more
    take_all<M::Team::kLooksInFlight>(
        m, n, awaited, [&](int i) { return from + i; },
        [&](int i, const Quad& quad) {
            const float v[4] = {untagged(quad.word[0]), untagged(quad.word[1]), untagged(quad.word[2]),
                                untagged(quad.word[3])};
            put_input4(m.team, to, n, i, v, blocks);
        });
    m.trace_gathered(a);
    m.team.sync();
    return {to, 0, 0.0f};
}

// The whole input of `rows`, BlockRows or RowPairs: a machine may prepare it for their formats.
template <class M, class Rows>
VIGIL_DEVICE Input gather(M& m, const KernelArgs& a, const Rows& rows, const float* from, const Awaited& awaited) {
    return gather_columns(m, a, from, rows.cols(), awaited, rows.blocks);
}

// The same of the residual behind a norm. Each block computes the norm for itself, which is cheaper than one more
// exchange.
template <class M, class Rows>
VIGIL_DEVICE Input gather_normed(M& m, const KernelArgs& a, const Rows& rows, const float* weight,
                                 const Awaited& awaited) {
    const int n = a.config.dim;
    float* to = m.area();
    float sum = 0.0f;
    m.team.sync();  // nobody reads the last phase's input any more
    take_all<M::Team::kLooksInFlight>(
        m, n, awaited, [&](int i) { return a.act.residual + i; },
        [&](int i, const Quad& quad) {
            float weighted[4];
            VIGIL_UNROLL
            for (int j = 0; j < 4; ++j) {
                const float v = untagged(quad.word[j]);
                weighted[j] = v * weight[i + j];
                sum = fused(m.team, v, v, sum);
            }
            put_input4(m.team, to, n, i, weighted, rows.blocks);
        });
    m.trace_gathered(a);
    float* per_warp = m.scratch()->reduce;
    sum = m.team.lane_sum(sum);
    if (m.team.lane() == 0) per_warp[m.team.warp()] = sum;
    m.team.sync();  // for the vector and the sums at once
    return {to, n, a.config.norm_eps};
}

// The rows of a warp among a share of rows: first, first + n_warps, … below end.
template <class M>
VIGIL_DEVICE int first_row(const M& m, const Range& rows) {
    return rows.begin + m.team.warp();
}

// take(row, W[row] · x) for a warp's rows, beginning with row `row` of the matrix, by a lane per row. Any format.
template <class M, class Take>
VIGIL_DEVICE void multiply_matrix(const M& m, const Tensor& w, int row, int end, const float* x, Take&& take) {
    const int step = m.team.n_warps();
    const std::size_t stride = static_cast<std::size_t>(row_bytes(w.format, w.cols)) * step;
    VIGIL_UNROLL_BY(1)
    for (; row < end; row += step * M::Team::kWarpSize) {
        const int left = (end - row + step - 1) / step;
        const int n = left < M::Team::kWarpSize ? left : M::Team::kWarpSize;
        const float product = multiply_rows(m.team, w.format, row_pointer(w, row), stride, n, w.cols, x);
        if (m.team.lane() < n) take(row + m.team.lane() * step, product);
    }
}

// done(row, W[row] · input) for the rows of the block's share, by a lane per row, where the input, n words that are
// published at `from`, does not fit into the block's memory: some columns after the other. W is stored as blocks.
template <class M, class Done>
VIGIL_DEVICE void multiply_long(M& m, const KernelArgs& a, const Tensor& w, const Range& rows, const float* from,
                                const Awaited& awaited, Done&& done) {
    const int n_warps = m.team.n_warps();
    const std::size_t stride = static_cast<std::size_t>(row_bytes(w.format, w.cols)) * n_warps;
    // Whole blocks of any format. Behind them is room for the sums of their runs.
    constexpr int kWholeBlocks = 256;
    const int at_once = area_floats(a) / input_floats(kWholeBlocks) * kWholeBlocks;
    VIGIL_UNROLL_BY(1)
    for (int begin = rows.begin; begin < rows.end; begin += n_warps * M::Team::kWarpSize) {
        const int row = begin + m.team.warp();
        const int left = (rows.end - row + n_warps - 1) / n_warps;
        const int n = left < M::Team::kWarpSize ? left : M::Team::kWarpSize;
        float product = 0.0f;
        VIGIL_UNROLL_BY(1)
        for (int col = 0; col < w.cols; col += at_once) {
            const int n_cols = w.cols - col < at_once ? w.cols - col : at_once;
            const Input in = gather_columns(m, a, from + col, n_cols, awaited, true);
            if (n > 0)
                product += multiply_rows(m.team, w.format, row_pointer(w, row) + row_bytes(w.format, col), stride, n,
                                         n_cols, in.x);
        }
        if (m.team.lane() < n) done(row + m.team.lane() * n_warps, product);
    }
}

// Up to three matrices of equal width, their rows taken as one, and the share of them that falls to this block. The
// Tensors are in shared memory: a pointer to a kernel's argument would make the compiler copy all of them.
struct BlockRows {
    const Tensor* first;
    const Tensor* second;  // or null
    const Tensor* third;   // or null
    Range rows;
    // Any of them is stored as blocks. Then all rows are multiplied by multiply_matrix, else one at a time with the
    // next one's weights on their way in registers.
    bool blocks;

    VIGIL_DEVICE BlockRows(const Tensor* a, const Tensor* b, const Tensor* c, const Range& share)
        : first(a),
          second(b),
          third(c),
          rows(share),
          blocks(has_blocks(a->format) || (b != nullptr && has_blocks(b->format)) ||
                 (c != nullptr && has_blocks(c->format))) {}

    VIGIL_DEVICE int cols() const { return first->cols; }

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
    start_row(m.team, row.matrix->format, row_pointer(*row.matrix, row.index), row.matrix->cols, cursor.ahead);
    if (m.team.lane() == 0) cursor.addend = addend(cursor.row);
}

// Asks for a warp's first weights. To be called before the wait for the input. addend(row) is what is added to the
// row's product, asked for in one lane.
template <class M, class Addend>
VIGIL_DEVICE RowCursor<M> start(M& m, const BlockRows& b, Addend&& addend) {
    RowCursor<M> cursor{first_row(m, b.rows), 0.0f, {}};
    if (!b.blocks) {
        start_row(m, b, cursor, addend);
    } else if (cursor.row < b.rows.end) {
        const BlockRows::Row row = b.at(cursor.row);
        prefetch_row(m.team, row_pointer(*row.matrix, row.index), row_bytes(row.matrix->format, row.matrix->cols));
    }
    return cursor;
}

template <class M, class Addend, class Done>
VIGIL_DEVICE void multiply_blocks(M& m, const BlockRows& b, const Input& in, Addend&& addend, Done&& done) {
    const float scale = scale_of(m, in);
    int row = first_row(m, b.rows);
    int before = 0;  // rows of the matrices before this one
    VIGIL_UNROLL_BY(1)
    for (int i = 0; i < 3; ++i) {
        const Tensor* w = i == 0 ? b.first : i == 1 ? b.second : b.third;
        if (w == nullptr) break;
        const int end = before + w->rows < b.rows.end ? before + w->rows : b.rows.end;
        if (row < end) {
            multiply_matrix(m, *w, row - before, end - before, in.x, [&](int index, float product) {
                done(before + index, fused(m.team, product, scale, addend(before + index)));
            });
            const int step = m.team.n_warps();
            row += (end - row + step - 1) / step * step;
        }
        before += w->rows;
    }
}

// done(row, W[row] · x * scale + addend) for all of the block's rows, by one lane per row.
template <class M, class Addend, class Done>
VIGIL_DEVICE void multiply(M& m, const BlockRows& b, RowCursor<M>& cursor, const Input& in, Addend&& addend,
                           Done&& done) {
    if (b.blocks) return multiply_blocks(m, b, in, addend, done);
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
    bool blocks;  // as in BlockRows

    VIGIL_DEVICE RowPairs(const Tensor& a, const Tensor& b, const Range& share)
        : first(a), second(b), rows(share), blocks(has_blocks(a.format) || has_blocks(b.format)) {}

    VIGIL_DEVICE int cols() const { return first.cols; }
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
    start_row(m.team, pairs.first.format, row_pointer(pairs.first, cursor.row), pairs.first.cols, cursor.first);
    start_row(m.team, pairs.second.format, row_pointer(pairs.second, cursor.row), pairs.first.cols, cursor.second);
}

template <class M>
VIGIL_DEVICE PairCursor<M> start(M& m, const RowPairs& pairs) {
    PairCursor<M> cursor{first_row(m, pairs.rows), {}, {}};
    if (!pairs.blocks) {
        start_pair(m, pairs, cursor);
    } else if (cursor.row < pairs.rows.end) {
        const auto prefetch = [&](const Tensor& w) {
            prefetch_row(m.team, row_pointer(w, cursor.row), row_bytes(w.format, w.cols));
        };
        prefetch(pairs.first);
        prefetch(pairs.second);
    }
    return cursor;
}

template <class M, class Done>
VIGIL_DEVICE void multiply_blocks(M& m, const RowPairs& pairs, const Input& in, Done&& done) {
    const float scale = scale_of(m, in);
    const int step = m.team.n_warps() * M::Team::kWarpSize;
    VIGIL_UNROLL_BY(1)
    for (int row = first_row(m, pairs.rows); row < pairs.rows.end; row += step) {
        const int end = row + step < pairs.rows.end ? row + step : pairs.rows.end;
        float first = 0.0f;
        float second = 0.0f;
        int mine = -1;
        VIGIL_UNROLL_BY(1)
        for (int i = 0; i < 2; ++i) {
            first = second;
            multiply_matrix(m, i == 0 ? pairs.first : pairs.second, row, end, in.x, [&](int index, float product) {
                second = product;
                mine = index;
            });
        }
        if (mine >= 0) done(mine, first * scale, second * scale);
    }
}

// done(row, first[row] · x * scale, second[row] · x * scale) for all of the block's rows, by one lane per row.
template <class M, class Done>
VIGIL_DEVICE void multiply(M& m, const RowPairs& pairs, PairCursor<M>& cursor, const Input& in, Done&& done) {
    if (pairs.blocks) return multiply_blocks(m, pairs, in, done);
    const int cols = pairs.first.cols;
    float scale = 0.0f;
    for (bool first = true; cursor.row < pairs.rows.end; first = false) {
        const int row = cursor.row;
        const float f = finish_row(m.team, cursor.first, pairs.first.format, row_pointer(pairs.first, row), cols, in.x);
        const float s =
            finish_row(m.team, cursor.second, pairs.second.format, row_pointer(pairs.second, row), cols, in.x);
        if (first) scale = scale_of(m, in);
        cursor.row += m.team.n_warps();
        start_pair(m, pairs, cursor);
        if (m.team.lane() == 0) done(row, f * scale, s * scale);
    }
}

}  // namespace vigil::device
