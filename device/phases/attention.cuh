// Attention of one token over the KV cache: heads = softmax(q·K^T * scale) · V, grouped queries. Two phases.
//
// attention
//   reads      qkv, the KV cache
//   writes     K and V of this position (the block that owns the last split of a KV head)
//   publishes  partials [n_heads, head_dim + 2, max_kv_splits], or the heads if the KV length is one split
//   split      every KV head's length is cut into parts of equal length; one block takes one part for all query heads
//              of the group
//   waits for  qkv of its group; the cached keys and values are on their way before
// combine_splits
//   reads      partials
//   publishes  heads [n_heads * head_dim]
//   split      elements of the heads, a warp each, a split per lane
//   waits for  the parts of its elements
#pragma once

#include "device/phases/common.cuh"
#include "device/phases/rope.cuh"

namespace vigil::device {

// Running softmax over positions for a few query heads: maximum, sum, and the weighted values of the lane's columns.
template <int Heads, int Columns>
struct SoftmaxState {
    float max[Heads];
    float sum[Heads];
    float values[Heads][Columns];
};

// Chunks of eight columns that a lane has at most.
template <class Team>
constexpr int kHeadChunks = Team::kWarpSize == 1 ? kMaxHeadDim / 8 : 1;

// The shape of the attention at `position`. The block synchronises before it is used.
template <class M>
VIGIL_DEVICE void prepare_attention(const M& m, const KernelArgs& a, int position) {
    using Team = typename M::Team;
    AttentionShape& s = m.scratch()->attention;
    const int per_group = a.config.n_heads / a.config.n_kv_heads;
    const int n_passes = (per_group + Team::kHeadsPerPass - 1) / Team::kHeadsPerPass;
    const int at_once = n_passes < m.team.n_warps() ? n_passes : m.team.n_warps();
    const int warps_each = m.team.n_warps() / at_once;
    if (m.team.thread() < m.team.n_warps()) {
        s.slot[m.team.thread()] = m.team.thread() / warps_each;
        s.warp_of_pass[m.team.thread()] = m.team.thread() % warps_each;
    }
    if (m.team.thread() != 0) return;
    const KvSplit split = kv_split(a.plan, position + 1);
    s.n_splits = split.count;
    s.split_length = split.length;
    s.per_group = per_group;
    s.first_kv_head = m.team.block() / split.count;
    s.first_split = m.team.block() % split.count;
    s.n_passes = n_passes;
    s.at_once = at_once;
    s.warps_each = warps_each;
    s.lanes_log2 = 0;
    while ((1 << s.lanes_log2) < Team::kWarpSize && (8 << s.lanes_log2) < a.config.head_dim) ++s.lanes_log2;
    s.lanes = 1 << s.lanes_log2;
    s.chunks = (a.config.head_dim / 8 + s.lanes - 1) / s.lanes;
}

// What a block attends to in one go: positions [begin, end) of one KV head.
struct AttentionPart {
    std::size_t cache;  // where position 0 is in the arrays of keys and of values
    int begin, end;
    int current;  // the position fed now if it is one of them: not read from the cache, but from the block's area
};

// The keys and values of a few positions on their way. Positions are shared out among the groups of lanes of the warps
// that work on the same heads.
template <class M>
struct KvRound {
    static constexpr int kUnroll = M::Team::kPositionsInFlight;
    static constexpr int kChunks = kHeadChunks<typename M::Team>;
    typename M::Team::RawHalf8 keys[kUnroll][kChunks];
    typename M::Team::RawHalf8 values[kUnroll][kChunks];
};

// A lane's place among the lanes and warps that work on the same heads.
template <class M>
struct LanePlace {
    const AttentionShape& shape;
    int slot;   // this warp's pass among those side by side; warps may be left over, with a slot past the last
    int group;  // of lanes, among those of the warp
    int lane;   // within the group
    int first;  // position of the group's first round, counted from the part's begin
    int step;   // positions that one round of all warps of a pass covers

    VIGIL_DEVICE explicit LanePlace(const M& m) : shape(m.scratch()->attention) {
        const int groups = M::Team::kWarpSize >> shape.lanes_log2;  // per warp
        lane = m.team.lane() & (shape.lanes - 1);
        group = m.team.lane() >> shape.lanes_log2;
        slot = shape.slot[m.team.warp()];
        first = shape.warp_of_pass[m.team.warp()] * groups + group;
        step = groups * shape.warps_each;
    }
    VIGIL_DEVICE int column(int chunk) const { return 8 * (lane + chunk * shape.lanes); }
};

// Asks for the keys, or the values, of the round of positions that begins at `base` for this group of lanes.
template <class M>
VIGIL_DEVICE void load_rows(const M& m, const KernelArgs& a, const LanePlace<M>& place, const std::uint16_t* cache,
                            const AttentionPart& part, int base,
                            typename M::Team::RawHalf8 (&raw)[KvRound<M>::kUnroll][KvRound<M>::kChunks]) {
    VIGIL_UNROLL
    for (int u = 0; u < KvRound<M>::kUnroll; ++u) {
        const int position = base + u * place.step;
        for (int c = 0; c < KvRound<M>::kChunks; ++c) {
            if (c >= place.shape.chunks || place.column(c) >= a.config.head_dim || position >= part.end ||
                position == part.current)
                continue;
            raw[u][c] = fetch_half8(
                m.team, cache + part.cache + static_cast<std::size_t>(position) * a.config.head_dim + place.column(c));
        }
    }
}

// Where the block keeps the key of the position fed now as it is cached, [head_dim] in FP16, and behind it the value:
// after the queries at `q` and the key and value in FP32.
VIGIL_DEVICE std::uint16_t* current_key(float* q, int per_group, int head_dim) {
    return reinterpret_cast<std::uint16_t*>(q + (per_group + 2) * head_dim);
}

// Attends the query heads of one KV head at `q` (shared, [per_group][head_dim]) to a part's positions and hands out per
// head {max, sum, values} by store(head, row, value). All threads of the block. `round` holds the first positions. The
// warps are shared out among the group's heads, Heads at a time, so that all heads pass over K and V at once.
template <int Heads, class M, class Store>
VIGIL_DEVICE void attend(M& m, const KernelArgs& a, float* q, int per_group, const AttentionPart& part,
                         const LanePlace<M>& place, KvRound<M>& round, float* scratch, Store&& store) {
    using Team = typename M::Team;
    constexpr int kChunks = KvRound<M>::kChunks;
    constexpr int kUnroll = KvRound<M>::kUnroll;
    const int head_dim = a.config.head_dim;
    const int row = head_dim + 2;
    const AttentionShape& shape = place.shape;
    const auto column = [&](int chunk) { return place.column(chunk); };

    VIGIL_UNROLL_BY(1)
    for (int first_pass = 0; first_pass < shape.n_passes; first_pass += shape.at_once) {
        const int first_head = (first_pass + place.slot) * Heads;
        const bool works = place.slot < shape.at_once && first_head < per_group;
        const int n = per_group - first_head < Heads ? per_group - first_head : Heads;
        SoftmaxState<Heads, 8 * kChunks> s;
        for (int h = 0; h < Heads; ++h) {
            s.max[h] = -INFINITY;
            s.sum[h] = 0.0f;
            for (int i = 0; i < 8 * kChunks; ++i) s.values[h][i] = 0.0f;
        }

        // The bounds are the same for all lanes of a warp: the reductions below need them all.
        int base = works ? part.begin + place.first - place.group : part.end;
        if (first_pass > 0) {
            load_rows(m, a, place, a.kv.k, part, base + place.group, round.keys);
            load_rows(m, a, place, a.kv.v, part, base + place.group, round.values);
        }
        VIGIL_UNROLL_BY(1)
        for (; base < part.end; base += kUnroll * place.step) {
            bool mine[kUnroll];
            VIGIL_UNROLL
            for (int u = 0; u < kUnroll; ++u) {
                const int position = base + u * place.step + place.group;
                mine[u] = position < part.end;
                if (position != part.current) continue;
                for (int c = 0; c < kChunks; ++c) {
                    if (c >= shape.chunks || column(c) >= head_dim) continue;
                    round.keys[u][c] = fetch_shared_half8(m.team, current_key(q, per_group, head_dim) + column(c));
                    round.values[u][c] =
                        fetch_shared_half8(m.team, current_key(q, per_group, head_dim) + head_dim + column(c));
                }
            }
            float score[kUnroll][Heads];
            VIGIL_UNROLL
            for (int u = 0; u < kUnroll; ++u) {
                VIGIL_UNROLL
                for (int h = 0; h < Heads; ++h) score[u][h] = 0.0f;
                for (int c = 0; c < kChunks; ++c) {
                    if (c >= shape.chunks || column(c) >= head_dim || !mine[u]) continue;
                    float k[8];
                    unpack_half8(m.team, round.keys[u][c], k);
                    VIGIL_UNROLL
                    for (int h = 0; h < Heads; ++h) {
                        // Queries stay in shared memory: registers are short, and the lane groups share the reads.
                        float query[8];
                        load_shared8(m.team, q + (first_head + (h < n ? h : 0)) * head_dim + column(c), query);
                        VIGIL_UNROLL
                        for (int i = 0; i < 8; ++i) score[u][h] = fused(m.team, query[i], k[i], score[u][h]);
                    }
                }
            }
            load_rows(m, a, place, a.kv.k, part, base + kUnroll * place.step + place.group, round.keys);
            for (int offset = shape.lanes / 2; offset > 0; offset /= 2) {
                VIGIL_UNROLL
                for (int u = 0; u < kUnroll; ++u) {
                    VIGIL_UNROLL
                    for (int h = 0; h < Heads; ++h) score[u][h] += m.team.lane_exchange(score[u][h], offset);
                }
            }
            VIGIL_UNROLL
            for (int h = 0; h < Heads; ++h) {
                float top = s.max[h];
                VIGIL_UNROLL
                for (int u = 0; u < kUnroll; ++u) {
                    score[u][h] *= a.config.attention_scale;
                    if (!mine[u]) score[u][h] = -INFINITY;
                    top = fmaxf(top, score[u][h]);
                }
                // Where nothing has been seen yet, or this position is none, the difference would be inf - inf.
                const float keep = s.max[h] == -INFINITY ? 0.0f : exponential(m.team, s.max[h] - top);
                s.max[h] = top;
                s.sum[h] *= keep;
                for (int c = 0; c < kChunks; ++c)
                    if (c < shape.chunks)
                        for (int i = 0; i < 8; ++i) s.values[h][8 * c + i] *= keep;
                VIGIL_UNROLL
                for (int u = 0; u < kUnroll; ++u) {
                    score[u][h] = mine[u] ? exponential(m.team, score[u][h] - top) : 0.0f;
                    s.sum[h] += score[u][h];
                }
            }
            VIGIL_UNROLL
            for (int u = 0; u < kUnroll; ++u) {
                for (int c = 0; c < kChunks; ++c) {
                    if (c >= shape.chunks || column(c) >= head_dim || !mine[u]) continue;
                    float v[8];
                    unpack_half8(m.team, round.values[u][c], v);
                    VIGIL_UNROLL
                    for (int h = 0; h < Heads; ++h) {
                        VIGIL_UNROLL
                        for (int i = 0; i < 8; ++i)
                            s.values[h][8 * c + i] = fused(m.team, score[u][h], v[i], s.values[h][8 * c + i]);
                    }
                }
            }
            load_rows(m, a, place, a.kv.v, part, base + kUnroll * place.step + place.group, round.values);
        }

        // Lane groups of a warp, by pairs; then the warps of a slot through shared memory, in order.
        VIGIL_UNROLL
        for (int h = 0; h < Heads; ++h) {
            float top = s.max[h];
            for (int mask = shape.lanes; mask < Team::kWarpSize; mask *= 2)
                top = fmaxf(top, m.team.lane_exchange(top, mask));
            const float keep = top == -INFINITY ? 0.0f : exponential(m.team, s.max[h] - top);
            s.max[h] = top;
            s.sum[h] *= keep;
            VIGIL_UNROLL
            for (int i = 0; i < 8 * kChunks; ++i) s.values[h][i] *= keep;
        }
        VIGIL_UNROLL_BY(1)
        for (int mask = shape.lanes; mask < Team::kWarpSize; mask *= 2) {
            VIGIL_UNROLL
            for (int h = 0; h < Heads; ++h) {
                s.sum[h] += m.team.lane_exchange(s.sum[h], mask);
                VIGIL_UNROLL
                for (int i = 0; i < 8 * kChunks; ++i) s.values[h][i] += m.team.lane_exchange(s.values[h][i], mask);
            }
        }
        if (works && place.group == 0) {
            VIGIL_UNROLL
            for (int h = 0; h < Heads; ++h) {
                float* mine = scratch + (m.team.warp() * Heads + h) * row;
                if (place.lane == 0) {
                    mine[0] = s.max[h];
                    mine[1] = s.sum[h];
                }
                for (int c = 0; c < kChunks; ++c)
                    if (c < shape.chunks && column(c) < head_dim)
                        for (int i = 0; i < 8; ++i) mine[2 + column(c) + i] = s.values[h][8 * c + i];
            }
        }
        m.team.sync();
        const int heads_here = per_group - first_pass * Heads < shape.at_once * Heads ? per_group - first_pass * Heads
                                                                                      : shape.at_once * Heads;
        VIGIL_UNROLL_BY(1)
        for (int i = m.team.thread(); i < heads_here * row; i += m.team.n_threads()) {
            const int h = i / row;
            const int column_of_row = i - h * row;
            const float* warps = scratch + (h / Heads * shape.warps_each * Heads + h % Heads) * row;
            float top = warps[0];
            VIGIL_UNROLL_BY(4)
            for (int w = 1; w < shape.warps_each; ++w) top = fmaxf(top, warps[w * Heads * row]);
            float total = 0.0f;
            VIGIL_UNROLL_BY(4)
            for (int w = 0; w < shape.warps_each; ++w)
                total = fused(m.team, exponential(m.team, warps[w * Heads * row] - top),
                              warps[w * Heads * row + column_of_row], total);
            store(first_pass * Heads + h, column_of_row, column_of_row == 0 ? top : total);
        }
        m.team.sync();
    }
}

template <class M>
VIGIL_DEVICE void attention(M& m, const KernelArgs& a, const LayerWeights& w, int layer, const TokenContext& t) {
    constexpr int kHeads = M::Team::kHeadsPerPass;
    const ModelConfig& c = a.config;
    const int per_group = c.n_heads / c.n_kv_heads;
    const int group_floats = per_group * c.head_dim;
    const std::uint32_t epoch = layer_epoch(a, t, layer);
    const Awaited awaited{ring::Phase::kAttention, layer, epoch};
    float* q = m.area();  // the group's queries, then this position's key and value, in FP32 and as they are cached
    float* k = q + group_floats;
    float* v = k + c.head_dim;
    float* scratch = v + 2 * c.head_dim;
    const LanePlace<M> place(m);
    const int n_splits = place.shape.n_splits;

    int kv_head = place.shape.first_kv_head;
    int index = place.shape.first_split;
    VIGIL_UNROLL_BY(1)
    for (int item = m.team.block(); item < c.n_kv_heads * n_splits; item += m.team.n_blocks()) {
        if (item != m.team.block()) {
            kv_head = item / n_splits;
            index = item % n_splits;
        }
        const bool appends = index + 1 == n_splits;
        const std::size_t cache =
            ((static_cast<std::size_t>(layer) * c.n_kv_heads + kv_head) * c.max_seq_len + t.kv_first) * c.head_dim;
        AttentionPart part;
        part.cache = cache;
        part.begin = index * place.shape.split_length;
        part.end = appends ? t.position + 1 : part.begin + place.shape.split_length;
        part.current = appends ? t.position : -1;
        KvRound<M> round;
        load_rows(m, a, place, a.kv.k, part, part.begin + place.first, round.keys);
        load_rows(m, a, place, a.kv.v, part, part.begin + place.first, round.values);

        const float* queries = a.act.qkv + kv_head * group_floats;
        const float* key = a.act.qkv + head_rows(c) + kv_head * c.head_dim;
        const float* value = key + kv_rows(c);
        m.team.sync();  // nobody reads the area any more
        take_all<1>(
            m, group_floats + (appends ? 2 * c.head_dim : 0), awaited,
            [&](int i) {
                if (i < group_floats) return queries + i;
                const int rest = i - group_floats;
                return rest < c.head_dim ? key + rest : value + (rest - c.head_dim);
            },
            [&](int i, const Quad& quad) {
                VIGIL_UNROLL
                for (int j = 0; j < 4; ++j) q[i + j] = untagged(quad.word[j]);
            });
        m.trace_gathered(a);
        m.team.sync();
        norm_heads(m, a, q, per_group, w.q_norm);
        if (appends) norm_heads(m, a, k, 1, w.k_norm);
        rotate_heads(m, a, q, appends ? per_group + 1 : per_group);  // the key stands behind the queries
        if (appends) append_kv(m, a, part.cache, t.position, k, v, current_key(q, per_group, c.head_dim));

        attend<kHeads>(m, a, q, per_group, part, place, round, scratch, [&](int head, int row, float found) {
            const int h = kv_head * per_group + head;
            float* to = a.act.partials + (static_cast<std::size_t>(h) * (c.head_dim + 2) + row) * a.plan.max_kv_splits;
            m.publish_once(to + index, found, epoch);
        });
    }
}

template <class M>
VIGIL_DEVICE void combine_splits(M& m, const KernelArgs& a, int layer, const TokenContext& t) {
    constexpr int kParts = (kMaxKvSplits + M::Team::kWarpSize - 1) / M::Team::kWarpSize;  // per lane
    const int head_dim = a.config.head_dim;
    const int n_splits = m.scratch()->attention.n_splits;
    const std::uint32_t epoch = layer_epoch(a, t, layer);
    const Awaited awaited{ring::Phase::kCombine, layer, epoch};
    const Range elements = m.scratch()->shares.heads;
    for (int e = elements.begin + m.team.warp(); e < elements.end; e += m.team.n_warps()) {
        const float* head =
            a.act.partials + static_cast<std::size_t>(e / head_dim) * (head_dim + 2) * a.plan.max_kv_splits;
        const float* column = head + (2 + e % head_dim) * a.plan.max_kv_splits;
        float max[kParts];
        float sum[kParts];
        float value[kParts];
        float top = -INFINITY;
        for (int i = 0; i < kParts; ++i) {
            const int p = m.team.lane() + i * M::Team::kWarpSize;
            float part[3] = {-INFINITY, 0.0f, 0.0f};  // of a lane without one
            const auto from = [&](int k) { return (k < 2 ? head + k * a.plan.max_kv_splits : column) + p; };
            if (p < n_splits) m.take(part, awaited, from);
            max[i] = part[0];
            sum[i] = part[1];
            value[i] = part[2];
            top = fmaxf(top, max[i]);
        }
        m.trace_gathered(a);
        m.team.sync_warp();  // lanes without a part have gone ahead, and what follows wants all
        top = max_in_warp(m, top);
        float total = 0.0f;
        float weighted = 0.0f;
        for (int i = 0; i < kParts; ++i) {
            if (i * M::Team::kWarpSize >= n_splits) break;  // for the whole warp
            const float weight = exponential(m.team, max[i] - top);
            total = fused(m.team, weight, sum[i], total);
            weighted = fused(m.team, weight, value[i], weighted);
        }
        total = m.team.lane_sum(total);
        weighted = m.team.lane_sum(weighted);
        if (m.team.lane() == 0) m.publish(a.act.heads + e, weighted / total, epoch);
    }
}

}  // namespace vigil::device
