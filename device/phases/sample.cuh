// The choice of the next token, by block 0.
//   reads      tiles, scores, logits
//   returns    the token and the log-probability the model gave it, in every thread of block 0; where asked, also the
//              tokens that the model held most probable
//   waits for  the tiles of all blocks
//
// Truncation follows llama.cpp: top-k, then top-p over what is left, then min-p, then temperature. Every one of them
// keeps all scores above a threshold, so a threshold is all that has to be found; it is found by bisection over the
// bits of the scores with integer counts and masses, which add up to the same in any order. The draw itself is the
// maximum of score/temperature plus Gumbel noise, which has the softmax distribution and again needs no order. The
// noise is Philox of (seed, position, token): a draw depends on neither the grid nor the moment.
// Tokens whose score equals the threshold are all kept.
#pragma once

#include "device/phases/common.cuh"
#include "device/phases/logits.cuh"
#include "device/phases/philox.cuh"

namespace vigil::device {

struct Choice {
    int token;
    float logprob;
    float log_sum_exp;  // of the vocabulary
};

// One of the tokens that the model held most probable.
struct Alternative {
    int token;
    float logprob;
};

// The statistics of the whole vocabulary.
struct VocabSummary {
    float max_logit;
    float log_sum_exp;  // natural log of sum exp(logit)
    float best_score;
    int best_token;
};

// A score as an integer of the same order.
VIGIL_DEVICE std::uint32_t order_key(float score) {
    const std::uint32_t bits = ring::float_bits(score);
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

VIGIL_DEVICE float score_of_key(std::uint32_t key) {
    return ring::bits_float((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// Score and token as one number: the key of the score above, the complement of the token below, so that lower tokens
// win ties.
VIGIL_DEVICE std::uint64_t ranking_key(float score, int token) {
    return static_cast<std::uint64_t>(order_key(score)) << 32 | ~static_cast<std::uint32_t>(token);
}

VIGIL_DEVICE int token_of_ranking(std::uint64_t key) {
    return static_cast<int>(~static_cast<std::uint32_t>(key));
}

// exp(score - best) as 24.40 fixed point: sums over a vocabulary are exact and need no order.
VIGIL_DEVICE std::uint64_t fixed_mass(float score, float best) {
    return static_cast<std::uint64_t>(expf(score - best) * 0x1p40f);
}

// The highest key of the block, in every thread.
template <class M>
VIGIL_DEVICE std::uint64_t block_highest(const M& m, std::uint64_t key) {
    for (int mask = M::Team::kWarpSize / 2; mask > 0; mask /= 2) {
        const std::uint64_t other = m.team.lane_exchange(static_cast<unsigned long long>(key), mask);
        key = other > key ? other : key;
    }
    std::uint64_t* per_warp = m.scratch()->reduce_wide;
    if (m.team.lane() == 0) per_warp[m.team.warp()] = key;
    m.team.sync();
    for (int w = 0; w < m.team.n_warps(); ++w) key = per_warp[w] > key ? per_warp[w] : key;
    m.team.sync();
    return key;
}

template <class M>
VIGIL_DEVICE LogitTile load_tile(const M& m, const LogitTile* tile) {
    LogitTile t;
    t.max_logit = m.team.load_published(&tile->max_logit);
    t.sum_exp = m.team.load_published(&tile->sum_exp);
    t.best_score = m.team.load_published(&tile->best_score);
    t.best_token = ring::load_relaxed(&tile->best_token);
    return t;
}

template <class M>
VIGIL_DEVICE VocabSummary summarise_vocab(M& m, const KernelArgs& a) {
    const int n_tiles = (a.config.vocab_size + kTileRows - 1) / kTileRows;
    VocabSummary s{-INFINITY, 0.0f, -INFINITY, a.config.vocab_size - 1};
    for (int i = m.team.thread(); i < n_tiles; i += m.team.n_threads()) {
        const LogitTile t = load_tile(m, &a.act.tiles[i]);
        s.max_logit = fmaxf(s.max_logit, t.max_logit);
        if (beats(t.best_score, t.best_token, s.best_score, s.best_token)) {
            s.best_score = t.best_score;
            s.best_token = t.best_token;
        }
    }
    s.max_logit = block_max(m, s.max_logit);
    float sum = 0.0f;
    for (int i = m.team.thread(); i < n_tiles; i += m.team.n_threads()) {
        const LogitTile t = load_tile(m, &a.act.tiles[i]);
        sum = fused(m.team, expf(t.max_logit - s.max_logit), t.sum_exp, sum);
    }
    s.log_sum_exp = s.max_logit + logf(block_sum(m, sum));
    s.best_token = token_of_ranking(block_highest(m, ranking_key(s.best_score, s.best_token)));
    s.best_score = m.team.load_published(&a.act.scores[s.best_token]);
    return s;
}

// The scores that truncation looks at: a short list in shared memory when one is known to hold every survivor, else
// the whole vocabulary in device memory.
struct Candidates {
    const float* scores;
    const int* tokens;  // null: token i has score i
    int count;

    VIGIL_DEVICE int token(int i) const { return tokens != nullptr ? tokens[i] : i; }
};

// The largest key K for which `enough(measure over all candidates with key ≥ K)` holds, found bit by bit.
// `measure(i, score)` adds up as an integer over the block's threads; `enough` is monotone.
template <class M, class Measure, class Enough>
VIGIL_DEVICE std::uint32_t highest_key(M& m, const Candidates& c, Measure&& measure, Enough&& enough) {
    std::uint32_t key = 0;
    for (int bit = 31; bit >= 0; --bit) {
        const std::uint32_t trial = key | 1u << bit;
        std::uint64_t sum = 0;
        for (int i = m.team.thread(); i < c.count; i += m.team.n_threads()) {
            const float score = c.scores[i];
            if (order_key(score) >= trial) sum += measure(score);
        }
        if (enough(block_sum_wide(m, sum))) key = trial;
    }
    return key;
}

// What a vocabulary is ranked by, with each tile's best of it.
struct ByScore {  // penalties applied: what is sampled from
    static VIGIL_DEVICE const float* values(const KernelArgs& a) { return a.act.scores; }
    static VIGIL_DEVICE const float* best(const LogitTile& t) { return &t.best_score; }
};
struct ByLogit {  // the model's own
    static VIGIL_DEVICE const float* values(const KernelArgs& a) { return a.act.logits; }
    static VIGIL_DEVICE const float* best(const LogitTile& t) { return &t.max_logit; }
};

// All tokens whose value is at least `bound`, in shared memory; returns how many there are, which may exceed what was
// stored. Only tiles whose best reaches the bound are read.
template <class By, class M>
VIGIL_DEVICE int collect(M& m, const KernelArgs& a, float bound, float* scores, int* tokens, int capacity) {
    const int vocab = a.config.vocab_size;
    const int n_tiles = (vocab + kTileRows - 1) / kTileRows;
    int* count = reinterpret_cast<int*>(&m.scratch()->flag);
    if (m.team.thread() == 0) *count = 0;
    m.team.sync();
    for (int tile = m.team.warp(); tile < n_tiles; tile += m.team.n_warps()) {
        if (m.team.load_published(By::best(a.act.tiles[tile])) < bound) continue;
        const int end = (tile + 1) * kTileRows < vocab ? (tile + 1) * kTileRows : vocab;
        for (int r = tile * kTileRows + m.team.lane(); r < end; r += M::Team::kWarpSize) {
            const float score = m.team.load_published(&By::values(a)[r]);
            if (score < bound) continue;
            const int at = m.team.fetch_add_shared(count, 1);
            if (at >= capacity) continue;
            scores[at] = score;
            tokens[at] = r;
        }
    }
    m.team.sync();
    const int total = *count;
    m.team.sync();
    return total;
}

// A bound that at least k values reach: the k-th largest of the tiles' best. With fewer tiles than k it is one that
// every value reaches (a NaN, below which nothing is).
template <class By, class M>
VIGIL_DEVICE float kth_tile_best(M& m, const KernelArgs& a, int k) {
    const int n_tiles = (a.config.vocab_size + kTileRows - 1) / kTileRows;
    std::uint32_t key = 0;
    for (int bit = 31; bit >= 0; --bit) {
        const std::uint32_t trial = key | 1u << bit;
        std::uint64_t reached = 0;
        for (int i = m.team.thread(); i < n_tiles; i += m.team.n_threads())
            reached += order_key(m.team.load_published(By::best(a.act.tiles[i]))) >= trial ? 1 : 0;
        if (block_sum_wide(m, reached) >= static_cast<std::uint64_t>(k)) key = trial;
    }
    return score_of_key(key);
}

// Gumbel noise of one token at one position. v is uniform in (0, 1]; -log1p(-v) keeps its precision for small v,
// where the large noise values come from.
VIGIL_DEVICE float gumbel(std::uint64_t seed, int position, int token) {
    const Philox random =
        philox(seed, static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(token / 4), 0, 0);
    const float v = (static_cast<float>(philox_word(random, token % 4)) + 0.5f) * 0x1p-32f;
    return -logf(-log1pf(-v));
}

// The token with the highest score/temperature + noise among the candidates whose key is at least `threshold`.
template <class M>
VIGIL_DEVICE int draw(M& m, const Candidates& c, std::uint32_t threshold, const ring::SamplingParams& s, int position) {
    constexpr float kNoiseBound = 23.0f;  // above the largest noise: -log(2^-33)
    float best = -INFINITY;
    int best_token = 0x7fffffff;
    for (int i = m.team.thread(); i < c.count; i += m.team.n_threads()) {
        const float score = c.scores[i];
        if (order_key(score) < threshold) continue;
        const float scaled = score / s.temperature;
        if (scaled + kNoiseBound < best) continue;  // cannot win: save the generator's work
        const float value = scaled + gumbel(s.seed, position, c.token(i));
        if (beats(value, c.token(i), best, best_token)) {
            best = value;
            best_token = c.token(i);
        }
    }
    return token_of_ranking(block_highest(m, ranking_key(best, best_token)));
}

// The key that the truncation of `s` asks for.
template <class M>
VIGIL_DEVICE std::uint32_t truncation_key(M& m, const Candidates& c, const ring::SamplingParams& s, float best,
                                          int vocab) {
    std::uint32_t key = 0;
    if (s.top_k > 0 && s.top_k < vocab) {
        const auto k = static_cast<std::uint64_t>(s.top_k);
        key = highest_key(
            m, c, [](float) { return std::uint64_t{1}; }, [&](std::uint64_t n) { return n >= k; });
    }
    if (s.top_p < 1.0f) {
        std::uint64_t mass = 0;
        for (int i = m.team.thread(); i < c.count; i += m.team.n_threads()) {
            const float score = c.scores[i];
            if (order_key(score) >= key) mass += fixed_mass(score, best);
        }
        const double total = static_cast<double>(block_sum_wide(m, mass));
        const auto wanted = static_cast<std::uint64_t>(static_cast<double>(s.top_p) * total);
        // The best token always stays: any positive mass reaches a wanted mass of at least one.
        const std::uint64_t at_least = wanted > 0 ? wanted : 1;
        const std::uint32_t nucleus = highest_key(
            m, c, [&](float score) { return fixed_mass(score, best); }, [&](std::uint64_t n) { return n >= at_least; });
        key = nucleus > key ? nucleus : key;
    }
    if (s.min_p > 0.0f) {
        const std::uint32_t floor = order_key(best + logf(s.min_p < 1.0f ? s.min_p : 1.0f));
        key = floor > key ? floor : key;
    }
    return key;
}

// Draws from the truncated distribution. Block 0, all threads.
template <class M>
VIGIL_DEVICE int sample_token(M& m, const KernelArgs& a, const ring::SamplingParams& s, const VocabSummary& v,
                              int position) {
    const int vocab = a.config.vocab_size;
    const bool uses_k = s.top_k > 0 && s.top_k < vocab;
    const bool uses_p = s.top_p < 1.0f;
    Candidates c{a.act.scores, nullptr, vocab};
    // With top-k or min-p alone the survivors lie above a bound that the tiles tell; top-p by itself needs the mass of
    // all, so it reads the whole vocabulary.
    if (uses_k || (s.min_p > 0.0f && !uses_p)) {
        const float bound =
            uses_k ? kth_tile_best<ByScore>(m, a, s.top_k) : v.best_score + logf(s.min_p < 1.0f ? s.min_p : 1.0f);
        const int capacity = area_floats(a) / 2;
        float* scores = m.area();
        int* tokens = reinterpret_cast<int*>(m.area() + capacity);
        const int count = collect<ByScore>(m, a, bound, scores, tokens, capacity);
        if (count <= capacity) c = {scores, tokens, count};
    }
    const std::uint32_t key = truncation_key(m, c, s, v.best_score, vocab);
    return draw(m, c, key, s, position);
}

// The n most probable tokens by the model's own logits, in their order; thread 0 of block 0 finds them at the start of
// the phases' area. n ≤ vocab_size.
template <class M>
VIGIL_DEVICE const Alternative* most_probable(M& m, const KernelArgs& a, int n, float log_sum_exp) {
    constexpr int kReserved = sizeof(Alternative) / sizeof(float) * ring::kMaxAlternatives;
    Alternative* found = reinterpret_cast<Alternative*>(m.area());
    const int capacity = (area_floats(a) - kReserved) / 2;
    float* values = m.area() + kReserved;
    int* tokens = reinterpret_cast<int*>(values + capacity);
    const int count = collect<ByLogit>(m, a, kth_tile_best<ByLogit>(m, a, n), values, tokens, capacity);
    Candidates c{a.act.logits, nullptr, a.config.vocab_size};
    if (count <= capacity) c = {values, tokens, count};
    std::uint64_t below = ~std::uint64_t{0};
    for (int rank = 0; rank < n; ++rank) {
        std::uint64_t best = 0;
        for (int i = m.team.thread(); i < c.count; i += m.team.n_threads()) {
            const std::uint64_t key = ranking_key(c.scores[i], c.token(i));
            if (key < below && key > best) best = key;
        }
        below = block_highest(m, best);
        if (m.team.thread() == 0)
            found[rank] = {token_of_ranking(below),
                           score_of_key(static_cast<std::uint32_t>(below >> 32)) - log_sum_exp};
    }
    return found;
}

template <class M>
VIGIL_DEVICE Choice choose_token(M& m, const KernelArgs& a, const ring::SamplingParams& s, int position) {
    const VocabSummary v = summarise_vocab(m, a);
    const bool greedy = s.temperature <= 0.0f || s.top_k == 1;
    const int token = greedy ? v.best_token : sample_token(m, a, s, v, position);
    return {token, m.team.load_published(&a.act.logits[token]) - v.log_sum_exp, v.log_sum_exp};
}

// The log-probability of a token that is given, not chosen.
template <class M>
VIGIL_DEVICE Choice score_token(M& m, const KernelArgs& a, int token) {
    const VocabSummary v = summarise_vocab(m, a);
    return {token, m.team.load_published(&a.act.logits[token]) - v.log_sum_exp, v.log_sum_exp};
}

}  // namespace vigil::device
