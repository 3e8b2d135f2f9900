// The choice of the next token, by block 0.
//   reads      tiles, scores, logits
//   returns    the token and the log-probability the model gave it, in every thread of block 0; where asked, also the
//              tokens that the model held most probable
//   waits for  the tiles of all blocks
//
// Truncation follows llama.cpp: top-k, then top-p over what is left, then min-p, then temperature. Every one of them
// keeps all scores above a threshold, and tokens whose score equals the threshold are all kept. Masses are fixed-point,
// so they add up to the same in any order. (Of top-p without top-k the whole is the mass of the vocabulary, which the
// tiles tell in floating point.) The draw itself is the maximum of score/temperature plus Gumbel noise, which has the
// softmax distribution and again needs no order. The noise is Philox of (seed, position, token): a draw depends on
// neither the grid nor the moment. A score that is not a number is never kept.
//
// All other blocks wait meanwhile, and what costs is what has to be waited for: a trip to L2, a barrier. So each thread
// reads its tiles in one trip and keeps their bests; a bound is found that enough of the bests reach; the few tiles
// that reach it are listed and their scores read in a second trip; and each of the few tokens above the bound counts
// for itself what is above it. Where they are many, thresholds are found by bisection, over the whole vocabulary if
// need be.
#pragma once

#include <type_traits>

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
    float sum_exp;      // sum of exp(logit - max_logit)
    float log_sum_exp;  // natural log of sum exp(logit)
    float best_score;
    int best_token;
};

// Score and token as one number: the key of the score above, the complement of the token below, so that lower tokens
// win ties.
VIGIL_DEVICE std::uint64_t ranking_key(float score, int token) {
    return static_cast<std::uint64_t>(order_key(score)) << 32 | ~static_cast<std::uint32_t>(token);
}

VIGIL_DEVICE std::uint32_t key_of_ranking(std::uint64_t ranking) {
    return static_cast<std::uint32_t>(ranking >> 32);
}
VIGIL_DEVICE int token_of_ranking(std::uint64_t ranking) {
    return static_cast<int>(~static_cast<std::uint32_t>(ranking));
}

// exp(score - best) as 24.40 fixed point, for score ≤ best: sums over a vocabulary are exact and need no order.
constexpr float kMassOfBest = 0x1p40f;
VIGIL_DEVICE std::uint64_t fixed_mass(float score, float best) {
    return static_cast<std::uint64_t>((score < best ? expf(score - best) : 1.0f) * kMassOfBest);
}

// What a sum of exp(x - from) has to be multiplied by to be one of exp(x - to), from ≤ to.
VIGIL_DEVICE float shrink(float from, float to) {
    return from < to ? expf(from - to) : 1.0f;
}

// All of this runs once per token, and nothing of it may be computed before the loop over tokens and held in registers
// that the layers are short of: hence who the thread is, anew at each use.
template <class M>
VIGIL_DEVICE int lane_anew(const M& m) {
    return static_cast<int>(static_cast<std::uint32_t>(m.team.thread_anew()) % std::uint32_t{M::Team::kWarpSize});
}
template <class M>
VIGIL_DEVICE int warp_anew(const M& m) {
    return static_cast<int>(static_cast<std::uint32_t>(m.team.thread_anew()) / std::uint32_t{M::Team::kWarpSize});
}
// ---- what is kept in shared memory --------------------------------------------------------------------------

struct alignas(16) SampleSlot {
    std::uint64_t key;
    float first, second;
};

// At the start of the phases' area.
struct SampleNotes {
    SampleSlot slots[2][kMaxWarps];
    int n_tiles;          // listed; 0 before collect
    int n_candidates;     // found, some of which may not have been stored
    std::uint64_t total;  // mass of what top-k keeps
    Alternative alternatives[ring::kMaxAlternatives];
};

template <class M>
VIGIL_DEVICE SampleNotes* sample_notes(const M& m) {
    return reinterpret_cast<SampleNotes*>(m.area());
}

// Behind the notes.
struct SampleRoom {
    std::uint64_t* rankings;  // [capacity] of the candidates
    std::uint64_t* masses;    // [few] of the first of them
    int* tiles;               // [capacity] those that reach the bound; until the candidates are there …
    std::uint64_t* above;     // [few] … and then in the same place, the mass above a candidate
    int capacity;
    int few;  // candidates that are compared each with each
};

constexpr int kFewCandidates = 256;

template <class M>
VIGIL_DEVICE SampleRoom sample_room(const M& m, const KernelArgs& a) {
    static_assert(sizeof(SampleNotes) % sizeof(std::uint64_t) == 0, "what follows is aligned");
    constexpr int kMassFloats = kFewCandidates * static_cast<int>(sizeof(std::uint64_t) / sizeof(float));
    constexpr int kFixed = static_cast<int>(sizeof(SampleNotes) / sizeof(float)) + kMassFloats;
    const int left = area_floats(a) - kFixed;
    SampleRoom room;
    room.capacity = left > 0 ? left / 3 : 0;
    room.few = room.capacity / 2 < kFewCandidates ? room.capacity / 2 : kFewCandidates;
    room.masses = reinterpret_cast<std::uint64_t*>(sample_notes(m) + 1);
    room.rankings = room.masses + kFewCandidates;
    room.above = room.rankings + room.capacity;
    room.tiles = reinterpret_cast<int*>(room.above);
    return room;
}

// ---- reductions ---------------------------------------------------------------------------------------------

template <class M>
VIGIL_DEVICE std::uint64_t highest_in_warp(const M& m, std::uint64_t ranking) {
    const std::uint32_t key = m.team.lane_highest(key_of_ranking(ranking));
    const std::uint32_t low = key_of_ranking(ranking) == key ? static_cast<std::uint32_t>(ranking) : 0;
    return static_cast<std::uint64_t>(key) << 32 | m.team.lane_highest(low);
}
template <class M>
VIGIL_DEVICE std::uint64_t sum_in_warp(const M& m, std::uint64_t v) {
    for (int mask = M::Team::kWarpSize / 2; mask > 0; mask /= 2)
        v += m.team.lane_exchange(static_cast<unsigned long long>(v), mask);
    return v;
}

// Which of the two sets of slots comes next. One barrier per reduction is enough, since a warp that still reads one set
// keeps all others from the reduction after the next.
struct SlotTurn {
    int turn = 0;

    template <class M>
    VIGIL_DEVICE SampleSlot* next(const M& m) {
        turn ^= 1;
        return sample_notes(m)->slots[turn];
    }
};

// What the warps have left in their slots: each lane takes one.
template <class M>
VIGIL_DEVICE SampleSlot slot_of_lane(const M& m, const SampleSlot* slots) {
    static_assert(M::Team::kWarpSize == 1 || M::Team::kWarpSize == kMaxWarps, "a lane for each warp");
    return lane_anew(m) < m.team.n_warps() ? slots[lane_anew(m)] : SampleSlot{0, -INFINITY, 0.0f};
}

// The highest ranking of the block and the value that goes with it, in every thread. 0 stands for none.
struct Highest {
    std::uint64_t ranking;
    float value;
};
template <class M>
VIGIL_DEVICE Highest block_highest(const M& m, SlotTurn& turn, const Highest& mine) {
    SampleSlot* slots = turn.next(m);
    const std::uint64_t of_warp = highest_in_warp(m, mine.ranking);
    if (mine.ranking == of_warp && (of_warp != 0 || lane_anew(m) == 0))
        slots[warp_anew(m)] = {of_warp, mine.value, 0.0f};
    m.team.sync();
    const SampleSlot of_lane = slot_of_lane(m, slots);
    const std::uint64_t highest = highest_in_warp(m, of_lane.key);
    return {highest, number_of_key(m.team.lane_highest(of_lane.key == highest ? order_key(of_lane.first) : 0))};
}

template <class M>
VIGIL_DEVICE std::uint64_t block_total(const M& m, SlotTurn& turn, std::uint64_t v) {
    SampleSlot* slots = turn.next(m);
    v = sum_in_warp(m, v);
    if (lane_anew(m) == 0) slots[warp_anew(m)] = {v, 0.0f, 0.0f};
    m.team.sync();
    return sum_in_warp(m, slot_of_lane(m, slots).key);
}

// ---- tiles --------------------------------------------------------------------------------------------------

// What a vocabulary is ranked by, with each tile's best of it.
struct ByScore {  // penalties applied: what is sampled from
    static VIGIL_DEVICE const float* values(const KernelArgs& a) { return a.act.scores; }
    static VIGIL_DEVICE const float* best(const LogitTile& t) { return &t.best_score; }
};
struct ByLogit {  // the model's own
    static VIGIL_DEVICE const float* values(const KernelArgs& a) { return a.act.logits; }
    static VIGIL_DEVICE const float* best(const LogitTile& t) { return &t.max_logit; }
};

// The keys of the bests of a thread's first tiles, 0 where there is none. A vocabulary of 131,072 has no others.
template <class M>
struct TileKeys {
    static constexpr int kCount = M::Team::kWarpSize == 1 ? 1 : 8;
    std::uint32_t keys[kCount];
    std::uint32_t highest;  // of all of the thread's tiles
};

VIGIL_DEVICE int n_logit_tiles(const KernelArgs& a) {
    return (a.config.vocab_size + kTileRows - 1) / kTileRows;
}

// use(tile, key of its best) for a thread's tiles from the `skipped`-th on, several on their way at once; behind the
// last tile with key 0.
template <class By, class M, class Use>
VIGIL_DEVICE void look_at_tiles(const M& m, const KernelArgs& a, int skipped, Use&& use) {
    constexpr int kLooks = TileKeys<M>::kCount;
    const int n_tiles = n_logit_tiles(a);
    const int step = m.team.n_threads();
    VIGIL_UNROLL_BY(1)
    for (int first = m.team.thread_anew() + skipped * step; first < n_tiles; first += kLooks * step) {
        float best[kLooks];
        VIGIL_UNROLL
        for (int u = 0; u < kLooks; ++u) {
            const int tile = first + u * step;
            best[u] = tile < n_tiles ? m.team.load_published(By::best(a.act.tiles[tile])) : NAN;
        }
        VIGIL_UNROLL
        for (int u = 0; u < kLooks; ++u) use(first + u * step, order_key(best[u]));
    }
}
// The same for all of them, those that are kept from what is kept.
template <class By, class M, class Use>
VIGIL_DEVICE void each_tile(const M& m, const KernelArgs& a, const TileKeys<M>& kept, Use&& use) {
    VIGIL_UNROLL
    for (int u = 0; u < TileKeys<M>::kCount; ++u) use(m.team.thread_anew() + u * m.team.n_threads(), kept.keys[u]);
    look_at_tiles<By>(m, a, TileKeys<M>::kCount, use);
}

template <class By, class M>
VIGIL_DEVICE TileKeys<M> keep_tiles(const M& m, const KernelArgs& a) {
    TileKeys<M> kept{};
    VIGIL_UNROLL
    for (int u = 0; u < TileKeys<M>::kCount; ++u) {
        const int tile = m.team.thread_anew() + u * m.team.n_threads();
        if (tile < n_logit_tiles(a)) kept.keys[u] = order_key(m.team.load_published(By::best(a.act.tiles[tile])));
    }
    const auto raise = [&](std::uint32_t key) { kept.highest = key > kept.highest ? key : kept.highest; };
    VIGIL_UNROLL
    for (int u = 0; u < TileKeys<M>::kCount; ++u) raise(kept.keys[u]);
    look_at_tiles<By>(m, a, TileKeys<M>::kCount, [&](int, std::uint32_t key) { raise(key); });
    return kept;
}

// Word `i`, chosen without indexing, as philox_word does.
VIGIL_DEVICE std::uint32_t word_of(const Quad& quad, int i) {
    return philox_word(Philox{{quad.word[0], quad.word[1], quad.word[2], quad.word[3]}}, i);
}

VIGIL_DEVICE LogitTile tile_of(const Quad& quad) {
    return {ring::bits_float(quad.word[0]), ring::bits_float(quad.word[1]), ring::bits_float(quad.word[2]),
            static_cast<std::int32_t>(quad.word[3])};
}

// Reads all tiles once. Makes the notes ready for collect.
template <class M>
VIGIL_DEVICE VocabSummary summarise_vocab(M& m, const KernelArgs& a, SlotTurn& turn, TileKeys<M>& kept) {
    constexpr int kLooks = TileKeys<M>::kCount;
    const int n_tiles = n_logit_tiles(a);
    const int step = m.team.n_threads();
    if (m.team.thread_anew() == 0) sample_notes(m)->n_tiles = 0;
    float top = -INFINITY;
    // One thread that adds up all tiles needs the precision that many threads' few tiles and a tree of sums have
    // anyway.
    std::conditional_t<M::Team::kWarpSize == 1, double, float> sum = 0.0f;
    std::uint64_t best = 0;
    kept = {};
    VIGIL_UNROLL_BY(1)
    for (int first = m.team.thread_anew(); first < n_tiles; first += kLooks * step) {
        // Behind the last tile it is looked at again, which changes neither the maximum nor the best.
        LogitTile tiles[kLooks];
        VIGIL_UNROLL
        for (int u = 0; u < kLooks; ++u) {
            const int tile = first + u * step < n_tiles ? first + u * step : n_tiles - 1;
            tiles[u] = tile_of(M::Team::load_quad(reinterpret_cast<const float*>(&a.act.tiles[tile])));
        }
        float higher = top;
        VIGIL_UNROLL
        for (int u = 0; u < kLooks; ++u) higher = fmaxf(higher, tiles[u].max_logit);
        sum *= shrink(top, higher);
        top = higher;
        VIGIL_UNROLL
        for (int u = 0; u < kLooks; ++u) {
            const bool counts = first + u * step < n_tiles;
            const float weight = shrink(tiles[u].max_logit, top);
            if constexpr (M::Team::kWarpSize == 1)
                sum += static_cast<double>(weight) * (counts ? tiles[u].sum_exp : 0.0f);
            else
                sum = fused(m.team, weight, counts ? tiles[u].sum_exp : 0.0f, sum);
            const std::uint64_t ranking = ranking_key(tiles[u].best_score, tiles[u].best_token);
            if (ranking > best) best = ranking;
            if (first == m.team.thread_anew()) kept.keys[u] = counts ? key_of_ranking(ranking) : 0;
        }
    }
    kept.highest = key_of_ranking(best);

    SampleSlot* slots = turn.next(m);
    const float of_warp = max_in_warp(m, top);
    const float sum_of_warp = m.team.lane_sum(static_cast<float>(sum * shrink(top, of_warp)));
    best = highest_in_warp(m, best);
    if (lane_anew(m) == 0) slots[warp_anew(m)] = {best, of_warp, sum_of_warp};
    m.team.sync();
    const SampleSlot other = slot_of_lane(m, slots);
    VocabSummary s;
    s.max_logit = max_in_warp(m, other.first);
    s.sum_exp = m.team.lane_sum(other.second * shrink(other.first, s.max_logit));
    s.log_sum_exp = s.max_logit + logf(s.sum_exp);
    best = highest_in_warp(m, other.key);
    s.best_score = number_of_key(key_of_ranking(best));
    s.best_token = token_of_ranking(best);
    return s;
}

// A key, above 0, that at least k values of the vocabulary reach, since at least k of the tiles' bests do, and not many
// more; 1 if there are fewer tiles. `top` is the highest key of all.
template <class By, class M>
VIGIL_DEVICE std::uint32_t tile_bound(const M& m, const KernelArgs& a, SlotTurn& turn, const TileKeys<M>& kept, int k,
                                      std::uint32_t top) {
    // Where k is small it is enough to count the threads' bests: few threads have two tiles above the bound.
    const bool of_threads = k <= m.team.n_threads() / 2;
    std::uint32_t low = 0;         // reached by k; 0: not known yet
    std::uint32_t high = top + 1;  // not reached by k
    std::uint32_t stride = 1u << 21;
    VIGIL_UNROLL_BY(1)
    for (;;) {
        // Down in growing strides until k reach, then up again by halves.
        const std::uint32_t trial = low != 0 ? low + (high - low) / 2 : top > stride ? top - stride : 1;
        int reached = 0;
        if (of_threads) {
            reached = m.team.sync_count(kept.highest >= trial);
        } else {
            std::uint64_t mine = 0;
            each_tile<By>(m, a, kept, [&](int, std::uint32_t key) { mine += key >= trial ? 1 : 0; });
            reached = static_cast<int>(block_total(m, turn, mine));
        }
        if (reached >= k) {
            low = trial;
            if (reached - k <= k / 2) break;
        } else {
            if (trial == 1) return 1;
            high = trial;
            stride = stride < 1u << 30 ? stride * 4 : ~0u;
        }
        if (low != 0 && high - low <= 1) break;
    }
    return low;
}

// Lists the values whose key is at least `bound`; returns how many there are, which may exceed what is listed: then the
// list is of no use. Only tiles whose best reaches the bound are read.
template <class By, class M>
VIGIL_DEVICE int collect(const M& m, const KernelArgs& a, const SampleRoom& room, const TileKeys<M>& kept,
                         std::uint32_t bound, float best) {
    SampleNotes* notes = sample_notes(m);
    if (m.team.thread_anew() == 0) notes->n_candidates = 0;
    each_tile<By>(m, a, kept, [&](int tile, std::uint32_t key) {
        if (key < bound) return;
        const int at = m.team.fetch_add_shared(&notes->n_tiles, 1);
        if (at < room.capacity) room.tiles[at] = tile;
    });
    m.team.sync();
    // Each of the tiles has a candidate at least: too many tiles are too many candidates.
    const int n_tiles = notes->n_tiles;
    const int n_rows = n_tiles <= room.capacity ? n_tiles * kTileRows : 0;
    const int step = m.team.n_threads();
    const auto row = [&](int i) {  // or one behind the vocabulary
        const auto at = static_cast<std::uint32_t>(i);
        const auto in_tile = static_cast<int>(at % std::uint32_t{kTileRows});
        return i < n_rows ? room.tiles[at / std::uint32_t{kTileRows}] * kTileRows + in_tile : a.config.vocab_size;
    };
    VIGIL_UNROLL_BY(1)
    for (int first = m.team.thread_anew(); first < n_rows; first += 4 * step) {
        Quad values;
        VIGIL_UNROLL
        for (int u = 0; u < 4; ++u) {
            const int r = row(first + u * step);
            values.word[u] = r < a.config.vocab_size ? M::Team::load_word(&By::values(a)[r]) : ~0u;
        }
        VIGIL_UNROLL_BY(1)
        for (int u = 0; u < 4; ++u) {
            const float value = ring::bits_float(word_of(values, u));
            if (order_key(value) < bound) continue;
            const int at = m.team.fetch_add_shared(&notes->n_candidates, 1);
            if (at < room.capacity) room.rankings[at] = ranking_key(value, row(first + u * step));
            if (at < room.few) room.masses[at] = fixed_mass(value, best);
        }
    }
    m.team.sync();
    if (m.team.thread_anew() == 0) notes->n_tiles = 0;  // for the next time, before which there is a barrier
    return n_tiles <= room.capacity ? notes->n_candidates : n_tiles;
}

// ---- few candidates -----------------------------------------------------------------------------------------

// What stands above a candidate.
struct Standing {
    int rank;            // candidates of a higher ranking
    int higher;          // … of a higher score
    int as_high;         // … of the same score or a higher one
    std::uint64_t mass;  // of those of a higher score
};

// use(i, standing) for each of the candidates, by one lane. Several lanes share the work of a candidate.
template <class M, class Use>
VIGIL_DEVICE void compare_few(const M& m, const SampleRoom& room, int count, Use&& use) {
    constexpr int kLanes = M::Team::kWarpSize == 1 ? 1 : 8;
    constexpr int kPerWarp = M::Team::kWarpSize / kLanes;
    static_assert(kFewCandidates < 1 << 10, "three counts to a word");
    const int part = lane_anew(m) % kLanes;
    VIGIL_UNROLL_BY(1)
    for (int first = warp_anew(m) * kPerWarp; first < count; first += m.team.n_warps() * kPerWarp) {
        const int i = first + lane_anew(m) / kLanes;
        const std::uint64_t mine = i < count ? room.rankings[i] : 0;
        std::uint32_t counts = 0;
        unsigned long long mass = 0;
        for (int j = part; j < count; j += kLanes) {
            const std::uint64_t other = room.rankings[j];
            if (other > mine) ++counts;
            if (key_of_ranking(other) >= key_of_ranking(mine)) counts += 1u << 20;
            if (key_of_ranking(other) <= key_of_ranking(mine)) continue;
            counts += 1u << 10;
            mass += room.masses[j];
        }
        for (int mask = kLanes / 2; mask > 0; mask /= 2) {
            counts += m.team.lane_exchange(counts, mask);
            mass += m.team.lane_exchange(mass, mask);
        }
        if (i >= count || part != 0) continue;
        constexpr std::uint32_t kCount = (1u << 10) - 1;
        use(i, Standing{static_cast<int>(counts & kCount), static_cast<int>(counts >> 10 & kCount),
                        static_cast<int>(counts >> 20), mass});
    }
}

// Of a nucleus: the mass that its tokens have to reach. The best token always stays: any positive mass reaches a wanted
// mass of one.
VIGIL_DEVICE std::uint64_t nucleus_mass(const ring::SamplingParams& s, double total) {
    const double wanted = static_cast<double>(s.top_p) * total;
    return wanted >= 1.0 ? static_cast<std::uint64_t>(wanted) : 1;
}

// The noise of one token at one position is Gumbel's, of a Philox word. v is uniform in (0, 1]; -log1p(-v) keeps its
// precision for small v, where the large noise values come from.
VIGIL_DEVICE float uniform_of_word(std::uint32_t word) {
    return (static_cast<float>(word) + 0.5f) * 0x1p-32f;
}
VIGIL_DEVICE float gumbel_of_uniform(float v) {
    return -logf(-log1pf(-v));
}
VIGIL_DEVICE Philox noise_of_four(std::uint64_t seed, int position, int token) {
    return philox(seed, static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(token / 4), 0, 0);
}
VIGIL_DEVICE float gumbel(std::uint64_t seed, int position, int token) {
    return gumbel_of_uniform(uniform_of_word(philox_word(noise_of_four(seed, position, token), token % 4)));
}

// The token with the highest score/temperature + noise, and its score.
struct Drawn {
    int token;
    float score;
};

// Among the listed candidates whose key is at least `threshold` and, unless `above` is null, the mass above them less
// than `wanted`. A ranking of 0: none.
template <class M>
VIGIL_DEVICE Highest draw_listed(const M& m, SlotTurn& turn, const std::uint64_t* rankings, int count,
                                 std::uint32_t threshold, const std::uint64_t* above, std::uint64_t wanted,
                                 const ring::SamplingParams& s, int position) {
    Highest best{0, 0.0f};
    VIGIL_UNROLL_BY(1)
    for (int i = m.team.thread_anew(); i < count; i += m.team.n_threads()) {
        if (key_of_ranking(rankings[i]) < threshold || (above != nullptr && above[i] >= wanted)) continue;
        const float score = number_of_key(key_of_ranking(rankings[i]));
        const int token = token_of_ranking(rankings[i]);
        const std::uint64_t value = ranking_key(score / s.temperature + gumbel(s.seed, position, token), token);
        if (value > best.ranking) best = {value, score};
    }
    return block_highest(m, turn, best);
}

// ---- many candidates, or the whole vocabulary ---------------------------------------------------------------

// A list in shared memory, or all values in device memory.
struct Candidates {
    const std::uint64_t* rankings;  // null: value i is token i's
    const float* values;
    int count;
};

// Four values from `i` on; behind the end no numbers.
template <class M>
VIGIL_DEVICE Quad quad_or_none(const M&, const float* values, int i, int count) {
    if (i + 4 <= count) return M::Team::load_quad(values + i);
    Quad quad;
    VIGIL_UNROLL
    for (int j = 0; j < 4; ++j) quad.word[j] = i + j < count ? M::Team::load_word(values + i + j) : ~0u;
    return quad;
}

// Quads of a vocabulary that are on their way to a thread at once.
constexpr int kQuadLooks = 4;

// use(token, step, quads) for the thread's share of a vocabulary: the values from token, token + step, … on; behind its
// end no numbers.
template <class M, class Use>
VIGIL_DEVICE void each_quads(const M& m, const float* values, int count, Use&& use) {
    const int step = 4 * m.team.n_threads();
    VIGIL_UNROLL_BY(1)
    for (int first = 4 * m.team.thread_anew(); first < count; first += kQuadLooks * step) {
        Quad quads[kQuadLooks];
        VIGIL_UNROLL
        for (int u = 0; u < kQuadLooks; ++u) quads[u] = quad_or_none(m, values, first + u * step, count);
        use(first, step, quads);
    }
}

// use(token, values of it and the next three), one copy of it, since it may be long.
template <class M, class Use>
VIGIL_DEVICE void each_quad(const M& m, const float* values, int count, Use&& use) {
    each_quads(m, values, count, [&](int first, int step, const Quad(&quads)[kQuadLooks]) {
        VIGIL_UNROLL_BY(1)
        for (int u = 0; u < kQuadLooks; ++u) {
            Quad quad;  // number u, chosen without indexing, which would put all into local memory
            VIGIL_UNROLL
            for (int j = 0; j < 4; ++j)
                quad.word[j] =
                    philox_word(Philox{{quads[0].word[j], quads[1].word[j], quads[2].word[j], quads[3].word[j]}}, u);
            if (first + u * step < count) use(first + u * step, quad);
        }
    });
}

// use(ranking) for the thread's share of the candidates.
template <class M, class Use>
VIGIL_DEVICE void each_candidate(const M& m, const Candidates& c, Use&& use) {
    if (c.rankings == nullptr) {
        each_quad(m, c.values, c.count, [&](int token, const Quad& quad) {
            VIGIL_UNROLL_BY(1)
            for (int j = 0; j < 4; ++j) use(ranking_key(ring::bits_float(word_of(quad, j)), token + j));
        });
        return;
    }
    VIGIL_UNROLL_BY(1)
    for (int i = m.team.thread_anew(); i < c.count; i += m.team.n_threads()) use(c.rankings[i]);
}

// How many candidates have a key of at least `key` (above 0), or the mass of those.
template <class M>
VIGIL_DEVICE std::uint64_t reach(const M& m, SlotTurn& turn, const Candidates& c, std::uint32_t key, bool by_mass,
                                 float best) {
    std::uint64_t sum = 0;
    if (c.rankings == nullptr) {
        // By scores, not by keys: a bisection comes here often.
        const float bound = key > order_key(-INFINITY) ? number_of_key(key) : -INFINITY;
        each_quads(m, c.values, c.count, [&](int, int, const Quad(&quads)[kQuadLooks]) {
            VIGIL_UNROLL
            for (int i = 0; i < 4 * kQuadLooks; ++i) {
                const float score = ring::bits_float(quads[i / 4].word[i % 4]);
                if (score >= bound) sum += by_mass ? fixed_mass(score, best) : 1;
            }
        });
    } else {
        each_candidate(m, c, [&](std::uint64_t ranking) {
            if (key_of_ranking(ranking) < key) return;
            sum += by_mass ? fixed_mass(number_of_key(key_of_ranking(ranking)), best) : 1;
        });
    }
    return block_total(m, turn, sum);
}

// The key that top-k and top-p ask for, by bisection. `nucleus`: the mass that top-p wants where it is not a part of
// what top-k keeps, else 0.
template <class M>
VIGIL_DEVICE std::uint32_t truncation_key(const M& m, SlotTurn& turn, const Candidates& c,
                                          const ring::SamplingParams& s, bool uses_k, std::uint64_t nucleus,
                                          float best) {
    std::uint32_t key = 1;
    VIGIL_UNROLL_BY(1)
    for (int pass = uses_k ? 0 : 1; pass < (s.top_p < 1.0f ? 2 : 1); ++pass) {
        const bool by_mass = pass == 1;
        std::uint64_t wanted = by_mass ? nucleus : static_cast<std::uint64_t>(s.top_k);
        std::uint32_t high = order_key(best) + 1;
        VIGIL_UNROLL_BY(1)
        while (wanted == 0 || high - key > 1) {
            const std::uint32_t trial = wanted == 0 ? key : key + (high - key) / 2;
            const std::uint64_t reached = reach(m, turn, c, trial, by_mass, best);
            if (wanted == 0) {
                wanted = nucleus_mass(s, static_cast<double>(reached));
            } else if (reached >= wanted) {
                key = trial;
                if (reached == wanted && !by_mass) break;
            } else {
                high = trial;
            }
        }
    }
    return key;
}

// The draw among all of a vocabulary whose key is at least `threshold` (above 0).
template <class M>
VIGIL_DEVICE Highest draw_from_all(const M& m, SlotTurn& turn, const float* scores, int vocab, std::uint32_t threshold,
                                   const ring::SamplingParams& s, int position) {
    constexpr float kNoiseBound = 23.0f;  // above the largest noise: -log(2^-33)
    constexpr float kLn2 = 0.6931472f;
    Highest best{0, 0.0f};
    float best_value = -INFINITY;
    each_quad(m, scores, vocab, [&](int token, const Quad& quad) {
        // Save the generator's work where none can win.
        bool any = false;
        VIGIL_UNROLL
        for (int j = 0; j < 4; ++j) {
            const float score = ring::bits_float(quad.word[j]);
            if (order_key(score) >= threshold && !(score / s.temperature + kNoiseBound < best_value)) any = true;
        }
        if (!any) return;
        const Philox random = noise_of_four(s.seed, position, token);
        VIGIL_UNROLL_BY(1)
        for (int j = 0; j < 4; ++j) {
            const float score = ring::bits_float(word_of(quad, j));
            if (order_key(score) < threshold) continue;
            const float scaled = score / s.temperature;
            const float v = uniform_of_word(philox_word(random, j));
            // The noise is at most -log(v), and v at least the power of two that it begins with.
            const int exponent = static_cast<int>(ring::float_bits(v) >> 23) - 127;
            if (scaled + (0.01f - kLn2 * static_cast<float>(exponent)) < best_value) continue;
            const float value = scaled + gumbel_of_uniform(v);
            if (ranking_key(value, token + j) <= best.ranking) continue;
            best = {ranking_key(value, token + j), score};
            best_value = value;
        }
    });
    return block_highest(m, turn, best);
}

// Draws from what truncation by bisection leaves of the candidates; `floor` is the least key by min-p, above 0.
template <class M>
VIGIL_DEVICE Highest sample_many(const M& m, SlotTurn& turn, const Candidates& c, const ring::SamplingParams& s,
                                 bool uses_k, std::uint64_t nucleus, std::uint32_t floor, float best, int position) {
    const std::uint32_t key = truncation_key(m, turn, c, s, uses_k, nucleus, best);
    const std::uint32_t threshold = floor > key ? floor : key;
    if (c.rankings == nullptr) return draw_from_all(m, turn, c.values, c.count, threshold, s, position);
    return draw_listed(m, turn, c.rankings, c.count, threshold, nullptr, 0, s, position);
}

// ---- the choice ---------------------------------------------------------------------------------------------

// Draws from the truncated distribution. Block 0, all threads.
template <class M>
VIGIL_DEVICE Drawn sample_token(M& m, const KernelArgs& a, const ring::SamplingParams& s, const VocabSummary& v,
                                SlotTurn& turn, const TileKeys<M>& kept, int position) {
    const int vocab = a.config.vocab_size;
    const bool uses_k = s.top_k > 0 && s.top_k < vocab;
    const bool uses_p = s.top_p < 1.0f;
    const bool nucleus_of_all = uses_p && !uses_k;
    const SampleRoom room = sample_room(m, a);
    const Candidates all{nullptr, a.act.scores, vocab};
    // min-p alone tells a bound. With top-p behind top-k it does not: the nucleus is a part of all that top-k keeps.
    const std::uint32_t floor = s.min_p > 0.0f ? order_key(v.best_score + logf(s.min_p < 1.0f ? s.min_p : 1.0f)) : 1;
    const bool floor_bounds = !(uses_k && uses_p);

    std::uint64_t nucleus = 0;
    if (nucleus_of_all) {
        double total = static_cast<double>(v.sum_exp) * static_cast<double>(kMassOfBest);
        if (has_penalties(s)) total = static_cast<double>(reach(m, turn, all, 1, true, v.best_score));
        nucleus = nucleus_mass(s, total);
    }

    // A nucleus tells no bound: most are small, so it is tried with a few tiles, then with more.
    int count = room.capacity + 1;
    int n_tiles = uses_k ? s.top_k : uses_p ? 48 : 0;
    VIGIL_UNROLL_BY(1)
    while (uses_k || uses_p || s.min_p > 0.0f) {
        std::uint32_t bound = 1;
        if (n_tiles > 0) bound = tile_bound<ByScore>(m, a, turn, kept, n_tiles, order_key(v.best_score));
        if (floor_bounds && floor > bound) bound = floor;
        count = collect<ByScore>(m, a, room, kept, bound, v.best_score);
        if (!nucleus_of_all || bound <= floor || count > room.capacity) break;
        const std::uint64_t mass = reach(m, turn, Candidates{room.rankings, nullptr, count}, 1, true, v.best_score);
        if (mass >= nucleus) break;
        count = room.capacity + 1;
        n_tiles *= 4;
    }

    Highest drawn;
    if (count <= room.few) {
        std::uint64_t wanted = 0;
        if (uses_k || uses_p) {
            SampleNotes* notes = sample_notes(m);
            const int k = uses_k && s.top_k < count ? s.top_k : count;
            compare_few(m, room, count, [&](int i, const Standing& standing) {
                room.above[i] = standing.higher < k ? standing.mass : ~std::uint64_t{0};
                if (standing.rank != k - 1) return;
                const int ties = standing.as_high - standing.higher;
                notes->total = standing.mass + static_cast<std::uint64_t>(ties) * room.masses[i];
            });
            m.team.sync();
            wanted = nucleus_of_all ? nucleus
                     : uses_p       ? nucleus_mass(s, static_cast<double>(notes->total))
                                    : ~std::uint64_t{0};
        }
        drawn =
            draw_listed(m, turn, room.rankings, count, floor, wanted != 0 ? room.above : nullptr, wanted, s, position);
    } else {
        const Candidates c = count <= room.capacity ? Candidates{room.rankings, nullptr, count} : all;
        drawn = sample_many(m, turn, c, s, uses_k, nucleus, floor, v.best_score, position);
    }
    if (drawn.ranking == 0) return {v.best_token, v.best_score};
    return {token_of_ranking(drawn.ranking), drawn.value};
}

// The n candidates of the highest rankings, one after the other.
template <class M>
VIGIL_DEVICE void rank_many(const M& m, SlotTurn& turn, const Candidates& c, int n, float log_sum_exp) {
    std::uint64_t below = ~std::uint64_t{0};
    VIGIL_UNROLL_BY(1)
    for (int rank = 0; rank < n; ++rank) {
        Highest best{0, 0.0f};
        each_candidate(m, c, [&](std::uint64_t ranking) {
            if (ranking < below && ranking > best.ranking) best.ranking = ranking;
        });
        below = block_highest(m, turn, best).ranking;
        if (m.team.thread_anew() == 0)
            sample_notes(m)->alternatives[rank] = {token_of_ranking(below),
                                                   number_of_key(key_of_ranking(below)) - log_sum_exp};
    }
}

// The n most probable tokens by the model's own logits, in their order, for thread 0 of block 0. n ≤ vocab_size. After
// choose_token.
template <class M>
VIGIL_DEVICE const Alternative* most_probable(M& m, const KernelArgs& a, int n, float log_sum_exp) {
    SampleNotes* notes = sample_notes(m);
    const SampleRoom room = sample_room(m, a);
    SlotTurn turn;
    m.team.sync();  // nobody is at the choice's last reduction any more
    const TileKeys<M> kept = keep_tiles<ByLogit>(m, a);
    const std::uint64_t highest = static_cast<std::uint64_t>(kept.highest) << 32;
    const std::uint32_t top = key_of_ranking(block_highest(m, turn, {highest, 0.0f}).ranking);
    const std::uint32_t bound = tile_bound<ByLogit>(m, a, turn, kept, n, top);
    const int count = collect<ByLogit>(m, a, room, kept, bound, number_of_key(top));
    if (count <= room.few && count >= n) {
        compare_few(m, room, count, [&](int i, const Standing& standing) {
            if (standing.rank < n)
                notes->alternatives[standing.rank] = {token_of_ranking(room.rankings[i]),
                                                      number_of_key(key_of_ranking(room.rankings[i])) - log_sum_exp};
        });
        m.team.sync();
    } else {
        const bool listed = count <= room.capacity && count >= n;
        const Candidates c =
            listed ? Candidates{room.rankings, nullptr, count} : Candidates{nullptr, a.act.logits, a.config.vocab_size};
        rank_many(m, turn, c, n, log_sum_exp);
    }
    return notes->alternatives;
}

// Chooses a token, or takes the one that is `given` (at least 0), with its log-probability.
template <class M>
VIGIL_DEVICE Choice choose_token(M& m, const KernelArgs& a, const ring::SamplingParams& s, int position, int given) {
    const bool chooses = given < 0;
    const float given_logit = chooses ? 0.0f : m.team.load_published(&a.act.logits[given]);
    SlotTurn turn;
    TileKeys<M> kept;
    const VocabSummary v = summarise_vocab(m, a, turn, kept);
    if (!chooses) return {given, given_logit - v.log_sum_exp, v.log_sum_exp};
    const bool greedy = s.temperature <= 0.0f || s.top_k == 1;
    const Drawn drawn = greedy ? Drawn{v.best_token, v.best_score} : sample_token(m, a, s, v, turn, kept, position);
    // Without penalties the score is the logit.
    const float logit = has_penalties(s) ? m.team.load_published(&a.act.logits[drawn.token]) : drawn.score;
    return {drawn.token, logit - v.log_sum_exp, v.log_sum_exp};
}

}  // namespace vigil::device
