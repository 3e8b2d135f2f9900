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
    constexpr int kMinLength = 32;  // shorter parts cost more to combine than they save
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

// Attends `n` (at most Heads) query heads at `q` (shared, [n][head_dim]) to positions [begin, end) of one KV head and
// leaves per head {max, sum, values} at partial[h * stride …]. All threads of the block.
template <int Heads, class M>
VIGIL_DEVICE void attend(M& m, const KernelArgs& a, const float* q, int n, const std::uint16_t* keys,
                         const std::uint16_t* values, int begin, int end, float* scratch, float* partial, int stride) {
    using Team = typename M::Team;
    constexpr int kChunks = HeadLanes<Team>::kChunks;
    constexpr int kUnroll = 2;  // positions per lane group whose loads are in flight together
    const int head_dim = a.config.head_dim;
    const HeadLanes<Team> split(head_dim);
    const int groups_per_warp = Team::kWarpSize / split.lanes;
    const int group = m.team.lane() / split.lanes;
    const int lane = m.team.lane() % split.lanes;
    const int n_groups = groups_per_warp * m.team.n_warps();
    const auto column = [&](int chunk) { return 8 * (lane + chunk * split.lanes); };

    SoftmaxState<Heads, 8 * kChunks> s;
    for (int h = 0; h < Heads; ++h) {
        s.max[h] = -INFINITY;
        s.sum[h] = 0.0f;
        for (int i = 0; i < 8 * kChunks; ++i) s.values[h][i] = 0.0f;
    }

    // The bound is the same for all lanes of a warp: the reductions below need them all.
    for (int base = begin + m.team.warp() * groups_per_warp; base < end; base += kUnroll * n_groups) {
        float score[kUnroll][Heads];
        VIGIL_UNROLL
        for (int u = 0; u < kUnroll; ++u) {
            const int position = base + u * n_groups + group;
            VIGIL_UNROLL
            for (int h = 0; h < Heads; ++h) score[u][h] = 0.0f;
            for (int c = 0; c < kChunks; ++c) {
                if (c >= split.chunks || column(c) >= head_dim || position >= end) continue;
                float k[8];
                load_half8(m.team, keys + static_cast<std::size_t>(position) * head_dim + column(c), k);
                VIGIL_UNROLL
                for (int h = 0; h < Heads; ++h) {
                    // The queries stay in shared memory: registers are short, and the lane groups share the reads.
                    const float* query = q + (h < n ? h : 0) * head_dim + column(c);
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
                score[u][h] = m.team.lane_sum(score[u][h], split.lanes) * a.config.attention_scale;
                if (base + u * n_groups + group >= end) score[u][h] = -INFINITY;
                top = fmaxf(top, score[u][h]);
            }
            if (top == -INFINITY) continue;  // this lane group has no position yet
            const float keep = expf(s.max[h] - top);
            s.max[h] = top;
            s.sum[h] *= keep;
            for (int c = 0; c < kChunks; ++c)
                if (c < split.chunks)
                    for (int i = 0; i < 8; ++i) s.values[h][8 * c + i] *= keep;
            VIGIL_UNROLL
            for (int u = 0; u < kUnroll; ++u) {
                score[u][h] = expf(score[u][h] - top);
                s.sum[h] += score[u][h];
            }
        }
        VIGIL_UNROLL
        for (int u = 0; u < kUnroll; ++u) {
            const int position = base + u * n_groups + group;
            for (int c = 0; c < kChunks; ++c) {
                if (c >= split.chunks || column(c) >= head_dim || position >= end) continue;
                float v[8];
                load_half8(m.team, values + static_cast<std::size_t>(position) * head_dim + column(c), v);
                VIGIL_UNROLL
                for (int h = 0; h < Heads; ++h) VIGIL_UNROLL
                for (int i = 0; i < 8; ++i)
                    s.values[h][8 * c + i] = fused(m.team, score[u][h], v[i], s.values[h][8 * c + i]);
            }
        }
    }

    // Lane groups of a warp, by pairs; then the warps through shared memory, in order.
    for (int mask = split.lanes; mask < Team::kWarpSize; mask *= 2) {
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
    const int row = head_dim + 2;
    VIGIL_UNROLL
    for (int h = 0; h < Heads; ++h) {
        if (h >= n) break;
        float* mine = scratch + m.team.warp() * row;
        if (group == 0) {
            if (lane == 0) {
                mine[0] = s.max[h];
                mine[1] = s.sum[h];
            }
            for (int c = 0; c < kChunks; ++c)
                if (c < split.chunks && column(c) < head_dim)
                    for (int i = 0; i < 8; ++i) mine[2 + column(c) + i] = s.values[h][8 * c + i];
        }
        m.team.sync();
        float top = scratch[0];
        for (int w = 1; w < m.team.n_warps(); ++w) top = fmaxf(top, scratch[w * row]);
        for (int i = m.team.thread(); i < row; i += m.team.n_threads()) {
            float total = 0.0f;
            for (int w = 0; w < m.team.n_warps(); ++w)
                total = fused(m.team, expf(scratch[w * row] - top), scratch[w * row + i], total);
            partial[h * stride + i] = i == 0 ? top : total;
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
        if (appends) append_kv(m, a, layer, kv_head, t.position, k, v);

        const std::size_t cache =
            (static_cast<std::size_t>(layer) * c.n_kv_heads + kv_head) * c.max_seq_len * c.head_dim;
        for (int first = 0; first < per_group; first += kHeads) {
            const int head = kv_head * per_group + first;
            float* partial = a.act.partials + (static_cast<std::size_t>(head) * a.plan.max_kv_splits + part) * row;
            const int n = per_group - first < kHeads ? per_group - first : kHeads;
            attend<kHeads>(m, a, q + first * c.head_dim, n, a.kv.k + cache, a.kv.v + cache, begin, end, scratch,
                           partial, a.plan.max_kv_splits * row);
        }
        if (m.arrive_last(&a.head_arrivals[kv_head], static_cast<std::uint32_t>(split.count)))
            combine_splits(m, a, kv_head, split.count);
        m.team.sync();
    }
    m.arrive();
}

}  // namespace vigil::device
