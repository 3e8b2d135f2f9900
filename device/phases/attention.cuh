// Attention of one token over the KV cache: heads = softmax(q·K^T * scale) · V, grouped queries.
//   reads      qkv, the KV cache
//   writes     K and V of this position (the block that owns the last split of a KV head)
//   publishes  heads [n_heads * head_dim]
//   split      every KV head's length is cut into parts of equal length; one block takes one part for all query heads
//              of the group. The block that finishes a KV head last adds the parts up in their order, so no further
//              exchange is needed and the bits do not depend on who was last.
//   waits for  qkv
#pragma once

#include "device/phases/common.cuh"
#include "device/phases/rope.cuh"

namespace vigil::device {

// How a KV length is cut. A function of the length and the plan only, so that the order of addition is fixed.
struct KvSplit {
    int count;
    int length;
};
VIGIL_DEVICE KvSplit kv_split(const GridPlan& plan, int n_positions) {
    constexpr int kMinLength = 64;  // shorter parts cost more to combine than they save
    int count = (n_positions + kMinLength - 1) / kMinLength;
    if (count > plan.max_kv_splits) count = plan.max_kv_splits;
    const int length = (n_positions + count - 1) / count;
    return {(n_positions + length - 1) / length, length};
}

// Running softmax over positions for a few query heads: maximum, sum, and the weighted values of the lane's columns.
template <int Heads, int Columns>
struct SoftmaxState {
    float max[Heads];
    float sum[Heads];
    float values[Heads][Columns];
};

// A lane's slice of a head: a group of neighbouring lanes covers a row of K or V, eight columns per lane and chunk.
template <class Team>
struct HeadLanes {
    static constexpr int kChunks = Team::kWarpSize == 1 ? kMaxHeadDim / 8 : 1;
    int lanes;   // per row, a power of two
    int chunks;  // per lane

    VIGIL_DEVICE explicit HeadLanes(int head_dim) {
        lanes = 1;
        while (lanes < Team::kWarpSize && lanes * 8 < head_dim) lanes *= 2;
        chunks = (head_dim / 8 + lanes - 1) / lanes;
    }
};

// Attends the query heads of one KV head at `q` (shared, [per_group][head_dim]) to positions [begin, end) and leaves
// per head {max, sum, values} at partial[head * stride …]. All threads of the block. The warps are shared out among the
// group's heads, Heads at a time, so that all heads pass over K and V at once; within that, positions are shared out
// among groups of lanes.
template <int Heads, class M>
VIGIL_DEVICE void attend(M& m, const KernelArgs& a, const float* q, int per_group, const std::uint16_t* keys,
                         const std::uint16_t* values, int begin, int end, float* scratch, float* partial, int stride) {
    using Team = typename M::Team;
    constexpr int kChunks = HeadLanes<Team>::kChunks;
    constexpr int kUnroll = Team::kPositionsInFlight;
    const int head_dim = a.config.head_dim;
    const int row = head_dim + 2;
    const HeadLanes<Team> lanes(head_dim);
    const int groups_per_warp = Team::kWarpSize / lanes.lanes;
    const int group = m.team.lane() / lanes.lanes;
    const int lane = m.team.lane() % lanes.lanes;
    const auto column = [&](int chunk) { return 8 * (lane + chunk * lanes.lanes); };

    const int n_passes = (per_group + Heads - 1) / Heads;
    const int at_once = n_passes < m.team.n_warps() ? n_passes : m.team.n_warps();
    const int warps_each = m.team.n_warps() / at_once;
    const int slot = m.team.warp() / warps_each;  // a few warps may be left over, with a slot past the last
    const int step = groups_per_warp * warps_each;

    for (int first_pass = 0; first_pass < n_passes; first_pass += at_once) {
        const int first_head = (first_pass + slot) * Heads;
        const bool works = slot < at_once && first_head < per_group;
        const int n = per_group - first_head < Heads ? per_group - first_head : Heads;
        SoftmaxState<Heads, 8 * kChunks> s;
        for (int h = 0; h < Heads; ++h) {
            s.max[h] = -INFINITY;
            s.sum[h] = 0.0f;
            for (int i = 0; i < 8 * kChunks; ++i) s.values[h][i] = 0.0f;
        }

        // The bounds are the same for all lanes of a warp: the reductions below need them all.
        int base = works ? begin + m.team.warp() % warps_each * groups_per_warp : end;
        for (; base < end; base += kUnroll * step) {
            typename Team::RawHalf8 raw_k[kUnroll][kChunks];
            typename Team::RawHalf8 raw_v[kUnroll][kChunks];
            bool mine[kUnroll];
            VIGIL_UNROLL
            for (int u = 0; u < kUnroll; ++u) {
                const int position = base + u * step + group;
                mine[u] = position < end;
                for (int c = 0; c < kChunks; ++c) {
                    if (c >= lanes.chunks || column(c) >= head_dim || !mine[u]) continue;
                    const std::size_t at = static_cast<std::size_t>(position) * head_dim + column(c);
                    raw_k[u][c] = fetch_half8(m.team, keys + at);
                    raw_v[u][c] = fetch_half8(m.team, values + at);
                }
            }
            float score[kUnroll][Heads];
            VIGIL_UNROLL
            for (int u = 0; u < kUnroll; ++u) {
                VIGIL_UNROLL
                for (int h = 0; h < Heads; ++h) score[u][h] = 0.0f;
                for (int c = 0; c < kChunks; ++c) {
                    if (c >= lanes.chunks || column(c) >= head_dim || !mine[u]) continue;
                    float k[8];
                    unpack_half8(m.team, raw_k[u][c], k);
                    VIGIL_UNROLL
                    for (int h = 0; h < Heads; ++h) {
                        // Queries stay in shared memory: registers are short, and the lane groups share the reads.
                        const float* query = q + (first_head + (h < n ? h : 0)) * head_dim + column(c);
                        VIGIL_UNROLL
                        for (int i = 0; i < 8; ++i) score[u][h] = fused(m.team, query[i], k[i], score[u][h]);
                    }
                }
            }
            VIGIL_UNROLL
            for (int h = 0; h < Heads; ++h) {
                float top = s.max[h];
                VIGIL_UNROLL
                for (int u = 0; u < kUnroll; ++u) {
                    score[u][h] = m.team.lane_sum(score[u][h], lanes.lanes) * a.config.attention_scale;
                    if (!mine[u]) score[u][h] = -INFINITY;
                    top = fmaxf(top, score[u][h]);
                }
                // Where nothing has been seen yet, or this position is none, the difference would be inf - inf.
                const float keep = s.max[h] == -INFINITY ? 0.0f : expf(s.max[h] - top);
                s.max[h] = top;
                s.sum[h] *= keep;
                for (int c = 0; c < kChunks; ++c)
                    if (c < lanes.chunks)
                        for (int i = 0; i < 8; ++i) s.values[h][8 * c + i] *= keep;
                VIGIL_UNROLL
                for (int u = 0; u < kUnroll; ++u) {
                    score[u][h] = mine[u] ? expf(score[u][h] - top) : 0.0f;
                    s.sum[h] += score[u][h];
                }
            }
            VIGIL_UNROLL
            for (int u = 0; u < kUnroll; ++u) {
                for (int c = 0; c < kChunks; ++c) {
                    if (c >= lanes.chunks || column(c) >= head_dim || !mine[u]) continue;
                    float v[8];
                    unpack_half8(m.team, raw_v[u][c], v);
                    VIGIL_UNROLL
                    for (int h = 0; h < Heads; ++h) {
                        VIGIL_UNROLL
                        for (int i = 0; i < 8; ++i)
                            s.values[h][8 * c + i] = fused(m.team, score[u][h], v[i], s.values[h][8 * c + i]);
                    }
                }
            }
        }

        // Lane groups of a warp, by pairs; then the warps of a slot through shared memory, in order.
        for (int mask = lanes.lanes; mask < Team::kWarpSize; mask *= 2) {
            VIGIL_UNROLL
            for (int h = 0; h < Heads; ++h) {
                const float other_max = m.team.lane_exchange(s.max[h], mask);
                const float other_sum = m.team.lane_exchange(s.sum[h], mask);
                const float top = fmaxf(s.max[h], other_max);
                const float mine = top == -INFINITY ? 0.0f : expf(s.max[h] - top);
                const float theirs = top == -INFINITY ? 0.0f : expf(other_max - top);
                s.max[h] = top;
                s.sum[h] = s.sum[h] * mine + other_sum * theirs;
                VIGIL_UNROLL
                for (int i = 0; i < 8 * kChunks; ++i) {
                    const float other = m.team.lane_exchange(s.values[h][i], mask);
                    s.values[h][i] = s.values[h][i] * mine + other * theirs;
                }
            }
        }
        if (works && group == 0) {
            VIGIL_UNROLL
            for (int h = 0; h < Heads; ++h) {
                float* mine = scratch + (m.team.warp() * Heads + h) * row;
                if (lane == 0) {
                    mine[0] = s.max[h];
                    mine[1] = s.sum[h];
                }
                for (int c = 0; c < kChunks; ++c)
                    if (c < lanes.chunks && column(c) < head_dim)
                        for (int i = 0; i < 8; ++i) mine[2 + column(c) + i] = s.values[h][8 * c + i];
            }
        }
        m.team.sync();
        for (int i = m.team.thread(); i < at_once * Heads * row; i += m.team.n_threads()) {
            const int head = first_pass * Heads + i / row;
            if (head >= per_group) break;
            const float* warps = scratch + (i / row / Heads * warps_each * Heads + i / row % Heads) * row;
            float top = warps[0];
            for (int w = 1; w < warps_each; ++w) top = fmaxf(top, warps[w * Heads * row]);
            float total = 0.0f;
            for (int w = 0; w < warps_each; ++w)
                total = fused(m.team, expf(warps[w * Heads * row] - top), warps[w * Heads * row + i % row], total);
            partial[head * stride + i % row] = i % row == 0 ? top : total;
        }
        m.team.sync();
    }
}

// heads = the parts of one KV head's group added up in their order. Uses the phases' area.
template <class M>
VIGIL_DEVICE void combine_splits(M& m, const KernelArgs& a, int kv_head, int n_splits) {
    const int head_dim = a.config.head_dim;
    const int row = head_dim + 2;
    const int per_group = a.config.n_heads / a.config.n_kv_heads;
    const float* group = a.act.partials + static_cast<std::size_t>(kv_head) * per_group * a.plan.max_kv_splits * row;
    // Maxima and sums of all parts at once: one latency instead of one per part.
    float* maxima = m.area();
    float* sums = maxima + per_group * n_splits;
    for (int i = m.team.thread(); i < per_group * n_splits; i += m.team.n_threads()) {
        const float* part = group + (i / n_splits * a.plan.max_kv_splits + i % n_splits) * row;
        maxima[i] = m.team.load_published(&part[0]);
        sums[i] = m.team.load_published(&part[1]);
    }
    m.team.sync();
    for (int i = m.team.thread(); i < per_group * head_dim; i += m.team.n_threads()) {
        const int h = i / head_dim;
        const float* part = group + h * a.plan.max_kv_splits * row + 2 + i % head_dim;
        float top = -INFINITY;
        for (int p = 0; p < n_splits; ++p) top = fmaxf(top, maxima[h * n_splits + p]);
        float sum = 0.0f;
        float value = 0.0f;
        VIGIL_UNROLL_BY(8)
        for (int p = 0; p < n_splits; ++p) {
            const float weight = expf(maxima[h * n_splits + p] - top);
            sum = fused(m.team, weight, sums[h * n_splits + p], sum);
            value = fused(m.team, weight, m.team.load_published(&part[p * row]), value);
        }
        a.act.heads[kv_head * per_group * head_dim + i] = value / sum;
    }
}

template <class M>
VIGIL_DEVICE void attention(M& m, const KernelArgs& a, const LayerWeights& w, int layer, const TokenContext& t) {
    constexpr int kHeads = M::Team::kHeadsPerPass;
    const ModelConfig& c = a.config;
    const int per_group = c.n_heads / c.n_kv_heads;
    const KvSplit split = kv_split(a.plan, t.position + 1);
    const int row = c.head_dim + 2;
    float* q = m.area();  // the group's queries, then this position's key and value
    float* k = q + per_group * c.head_dim;
    float* v = k + c.head_dim;
    float* scratch = v + c.head_dim;

    m.await(ring::Phase::kAttention, layer);
    for (int item = m.team.block(); item < c.n_kv_heads * split.count; item += m.team.n_blocks()) {
        const int kv_head = item / split.count;
        const int part = item % split.count;
        const int begin = part * split.length;
        const bool appends = part + 1 == split.count;
        const int end = appends ? t.position + 1 : begin + split.length;
        // The row of the cache that holds position 0, on its way while the queries are copied.
        const int kv_first = ring::load_relaxed(&a.state->job.kv_first);
        const float* k_rows = a.act.qkv + head_rows(c) + kv_head * c.head_dim;
        copy_published(m.team, q, a.act.qkv + kv_head * per_group * c.head_dim, per_group * c.head_dim);
        if (appends) {
            copy_published(m.team, k, k_rows, c.head_dim);
            copy_published(m.team, v, k_rows + kv_rows(c), c.head_dim);
        }
        m.team.sync();
        norm_heads(m, a, q, per_group, w.q_norm);
        if (appends) norm_heads(m, a, k, 1, w.k_norm);
        rotate_heads(m, a, q, appends ? per_group + 1 : per_group);  // the key stands behind the queries
        if (appends) append_kv(m, a, layer, kv_head, kv_first + t.position, k, v);

        const std::size_t cache =
            ((static_cast<std::size_t>(layer) * c.n_kv_heads + kv_head) * c.max_seq_len + kv_first) * c.head_dim;
        float* partial =
            a.act.partials + (static_cast<std::size_t>(kv_head) * per_group * a.plan.max_kv_splits + part) * row;
        attend<kHeads>(m, a, q, per_group, a.kv.k + cache, a.kv.v + cache, begin, end, scratch, partial,
                       a.plan.max_kv_splits * row);
        if (split.count == 1 || m.arrive_last(&a.head_arrivals[kv_head], static_cast<std::uint32_t>(split.count)))
            combine_splits(m, a, kv_head, split.count);
        m.team.sync();
    }
    m.arrive();
}

}  // namespace vigil::device
