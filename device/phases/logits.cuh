// Output logits, penalties, and the statistics that sampling starts from.
//   reads      residual [dim], history
//   writes     logits [vocab_size], scores [vocab_size] (logits after penalties), tiles [ceil(vocab_size / kTileRows)]
//   split      tiles of kTileRows rows, so that the order of addition does not depend on the number of blocks
//   waits for  residual (the last layer)
#pragma once

#include "device/phases/common.cuh"

namespace vigil::device {

// The penalties' window: the last `penalty_last_n` tokens up to and including the one fed now.
VIGIL_DEVICE Range penalty_window(const ring::SamplingParams& s, int position) {
    if (s.penalty_last_n < 0 || s.penalty_last_n > position) return {0, position + 1};
    return {position + 1 - s.penalty_last_n, position + 1};
}

VIGIL_DEVICE bool has_penalties(const ring::SamplingParams& s) {
    return s.penalty_last_n != 0 &&
           (s.repeat_penalty != 1.0f || s.frequency_penalty != 0.0f || s.presence_penalty != 0.0f);
}

// Applies the penalties to the scores in `rows`. The first occurrence of a token in the window does it for all.
template <class M>
VIGIL_DEVICE void apply_penalties(M& m, const KernelArgs& a, const ring::SamplingParams& s, Range rows, int position) {
    const Range window = penalty_window(s, position);
    for (int i = window.begin + m.team.thread(); i < window.end; i += m.team.n_threads()) {
        const int token = ring::load_relaxed(&a.history[i]);
        if (token < rows.begin || token >= rows.end) continue;
        bool first = true;
        for (int j = window.begin; j < i && first; ++j) first = ring::load_relaxed(&a.history[j]) != token;
        if (!first) continue;
        int count = 1;
        for (int j = i + 1; j < window.end; ++j) count += ring::load_relaxed(&a.history[j]) == token ? 1 : 0;
        float score = a.act.scores[token];
        score = score > 0.0f ? score / s.repeat_penalty : score * s.repeat_penalty;
        a.act.scores[token] = score - static_cast<float>(count) * s.frequency_penalty - s.presence_penalty;
    }
}

// Higher score first, lower token among equals.
VIGIL_DEVICE bool beats(float score, int token, float other_score, int other_token) {
    return score > other_score || (score == other_score && token < other_token);
}

// A warp's view of one tile.
template <class M>
VIGIL_DEVICE LogitTile summarise_tile(M& m, const KernelArgs& a, Range rows) {
    LogitTile t{-INFINITY, 0.0f, -INFINITY, rows.begin};
    for (int r = rows.begin + m.team.lane(); r < rows.end; r += M::Team::kWarpSize) {
        const float logit = m.team.load_published(&a.act.logits[r]);
        const float score = m.team.load_published(&a.act.scores[r]);
        t.max_logit = fmaxf(t.max_logit, logit);
        if (beats(score, r, t.best_score, t.best_token)) {
            t.best_score = score;
            t.best_token = r;
        }
    }
    t.max_logit = m.team.lane_max(t.max_logit);
    const float from = t.max_logit > -INFINITY ? t.max_logit : 0.0f;  // the difference is a number
    for (int r = rows.begin + m.team.lane(); r < rows.end; r += M::Team::kWarpSize)
        t.sum_exp += expf(m.team.load_published(&a.act.logits[r]) - from);
    t.sum_exp = m.team.lane_sum(t.sum_exp);
    for (int mask = M::Team::kWarpSize / 2; mask > 0; mask /= 2) {
        const float score = m.team.lane_exchange(t.best_score, mask);
        const int token = m.team.lane_exchange(t.best_token, mask);
        if (beats(score, token, t.best_score, t.best_token)) {
            t.best_score = score;
            t.best_token = token;
        }
    }
    return t;
}

// The tiles of a block, and the rows in them.
VIGIL_DEVICE Range logit_tiles(const ModelConfig& c, int block, int n_blocks) {
    return share((c.vocab_size + kTileRows - 1) / kTileRows, block, n_blocks);
}
VIGIL_DEVICE Range logit_rows(const ModelConfig& c, int block, int n_blocks) {
    const Range tiles = logit_tiles(c, block, n_blocks);
    const int end = tiles.end * kTileRows;
    return {tiles.begin * kTileRows, end < c.vocab_size ? end : c.vocab_size};
}

// store(row, product) for `rows` of the output matrix, by one lane per row.
template <class M, class Store>
VIGIL_DEVICE void multiply_vocab(M& m, const KernelArgs& a, const Range& rows, const Awaited& awaited, Store&& store) {
    // Rows are short and many: a warp takes two at a time, one from each half of the block's, so that the second's
    // weights travel beside the first's. Of an odd number the row in the middle is in both halves.
    const int half = (rows.end - rows.begin + 1) / 2;
    const int apart = rows.end - rows.begin - half;
    if (m.team.thread() == 0) {
        const Tensor& output = a.weights.output;
        m.scratch()->output[0] = output;
        m.scratch()->output[1] = output;
        m.scratch()->output[1].data = row_pointer(output, apart);
    }
    m.team.sync();
    const RowPairs pairs{m.scratch()->output[0], m.scratch()->output[1], {rows.begin, rows.begin + half}};
    auto cursor = start(m, pairs);
    const auto in = gather_normed(m, a, pairs, a.weights.output_norm, awaited);
    multiply(m, pairs, cursor, in, [&](int r, float first, float second) {
        store(r, first);
        store(r + apart, second);
    });
}

// Where the host wants the token's logits, or null.
VIGIL_DEVICE float* host_logits(const KernelArgs& a, const TokenContext& t) {
    const int row = t.position - ring::load_relaxed(&a.state->job.n_cached);
    const bool emit = (ring::load_relaxed(&a.state->job.flags) & ring::kJobEmitLogits) != 0 &&
                      a.logits_out != nullptr && row < a.logits_out_rows;
    return emit ? a.logits_out + static_cast<std::size_t>(row) * a.config.vocab_size : nullptr;
}
VIGIL_DEVICE void store_logit(const KernelArgs& a, float* host_row, int row, float y) {
    a.act.logits[row] = y;
    a.act.scores[row] = y;
    if (host_row != nullptr) host_row[row] = y;
}

// This block's logits, not yet summarised.
template <class M>
VIGIL_DEVICE void multiply_logits(M& m, const KernelArgs& a, const TokenContext& t) {
    float* const host_row = host_logits(a, t);
    const Awaited awaited{ring::Phase::kLogits, -1, residual_epoch(a, t, 2 * a.config.n_layers)};
    multiply_vocab(m, a, logit_rows(a.config, m.team.block(), m.team.n_blocks()), awaited,
                   [&](int r, float y) { store_logit(a, host_row, r, y); });
}

template <class M>
VIGIL_DEVICE void logits(M& m, const KernelArgs& a, const TokenContext& t) {
    const int vocab = a.config.vocab_size;
    const Range tiles = logit_tiles(a.config, m.team.block(), m.team.n_blocks());
    const Range rows = logit_rows(a.config, m.team.block(), m.team.n_blocks());
    multiply_logits(m, a, t);
    m.team.sync();
    const ring::SamplingParams& sampling = a.state->job.sampling;
    if (has_penalties(sampling)) {
        apply_penalties(m, a, sampling, rows, t.position);
        m.team.sync();
    }
    for (int tile = tiles.begin + m.team.warp(); tile < tiles.end; tile += m.team.n_warps()) {
        const int end = (tile + 1) * kTileRows < vocab ? (tile + 1) * kTileRows : vocab;
        const LogitTile summary = summarise_tile(m, a, Range{tile * kTileRows, end});
        if (m.team.lane() == 0) a.act.tiles[tile] = summary;
    }
}

}  // namespace vigil::device
