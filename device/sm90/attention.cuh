// The attention and combine phases of device/phases/attention.cuh on matrix instructions, for heads of 64 and of 128
// columns and groups of at most 32 query heads; other shapes, and mixtures of formats, take the portable ones. They
// read, write, are split and wait as those do; the parts lie otherwise, so that a block publishes whole lines.
//
// A tile is 8 positions of one KV head. A pass is four query heads of its group, in the instruction's eight columns: a
// float is two FP16 parts, its rounded value and what that leaves, in columns 2h and 2h + 1 for head h, so that both
// products keep FP32 meaning. Of V a warp takes 64 columns: with a longer head two warps work on a tile, which both
// need all scores. Lane 4g + t has to do with head t of the pass all the way:
//
//   scores    [8 positions, 8] = K [8, head_dim] · parts of q, scaled by a power of two per head
//             the lane gets that of position g
//   weights   2^(15 + score - highest so far), as parts, transposed
//   values    [64, 8] += V transposed [64, 8 positions] · parts of the weights
//             the lane gets columns 8g … 8g + 7
//
// In a product the order of what is added up is free, so that lanes read K and V by 16 bytes as they lie in the cache.
// Tiles are dealt to the warps of a pass in turn; what they found is merged through shared memory in their order.
#pragma once

#include "device/sm90/heads.h"
#include "device/sm90/machine.cuh"

namespace vigil::device::sm90 {

constexpr int kPassHeads = 4;
constexpr int kTilesAhead = 3;  // of a warp, that are on their way into L2
// The largest weight is 2^15: FP16 has its smallest numbers for what is 2^-39 of that.
constexpr float kWeightBits = 15.0f;

constexpr int kTilePositions = 8;
constexpr int kWarpColumns = 64;
constexpr int kMergedAtOnce = 4;  // warps whose findings a thread reads before it adds them up

// What a warp works on: a pass and, of the values, some columns. Both are powers of two in number; the last passes may
// have no heads.
template <int HeadDim>
struct WarpPlace {
    static constexpr int kColumnsLog2 = HeadDim / kWarpColumns - 1;
    static_assert(HeadDim == kWarpColumns << kColumnsLog2, "one warp's columns or two's");

    int jobs_log2;
    int job;    // the pass and, in the lowest bits, which columns
    int index;  // of the warp, among those that have this job

    VIGIL_DEVICE WarpPlace(int per_group, int warp)
        : jobs_log2(kColumnsLog2 + (per_group <= kPassHeads       ? 0
                                    : per_group <= 2 * kPassHeads ? 1
                                    : per_group <= 4 * kPassHeads ? 2
                                                                  : 3)),
          job(warp & ((1 << jobs_log2) - 1)),
          index(warp >> jobs_log2) {}
    VIGIL_DEVICE int warps_each() const { return tiles::kWarps >> jobs_log2; }
    VIGIL_DEVICE int first_head() const { return (job >> kColumnsLog2) * kPassHeads; }
    VIGIL_DEVICE int columns() const { return job & ((1 << kColumnsLog2) - 1); }
};

// What the block prepares in the phases' area once the group's q, k and v are there.
template <int HeadDim>
struct PreparedHeads {
    // Rows are apart so that lanes 4g + t, which read 16 bytes at 16t of row g, meet in no bank.
    static constexpr int kRowHalves = HeadDim + 32;

    std::uint16_t* parts;    // [2 · per_group][kRowHalves] of the queries
    std::uint16_t* current;  // [2][HeadDim] key and value of the position fed now, as they are cached
    float* scales;           // [per_group] of the scores, to the base 2

    // Within what attention_floats (device/entry/steps.cpp) asks for.
    VIGIL_DEVICE PreparedHeads(float* area, int per_group)
        : parts(reinterpret_cast<std::uint16_t*>(area)),
          current(parts + 2 * per_group * kRowHalves),
          scales(reinterpret_cast<float*>(current + 2 * HeadDim)) {}

    // Where a column stands in its row: of eight the first and the third pair before the other two, as
    // KvTile::score wants them.
    static VIGIL_DEVICE int place(int column) { return (column & ~6) | (column & 2) << 1 | (column & 4) >> 1; }
};

// ---- queries, key and value ---------------------------------------------------------------------------------

// v as FP16 in the lower half, and in the upper one what that leaves.
VIGIL_DEVICE std::uint32_t two_parts(float v) {
    return as_word(__floats2half2_rn(v, v - __half2float(__float2half_rn(v))));
}

// Norms and rotates one of the group's queries or, behind them and in the block that has this position, its key, or the
// value. A warp; each lane has a pair of elements that are rotated together, or two pairs.
template <int HeadDim, class M>
VIGIL_DEVICE void prepare_head(M& m, const KernelArgs& a, const LayerWeights& w, const PreparedHeads<HeadDim>& to,
                               int kv_head, int item, int lane, const AttentionPart& part, const Awaited& awaited) {
    constexpr int kElements = HeadDim / 32;
    const ModelConfig& c = a.config;
    const int per_group = m.scratch()->attention.per_group;
    const int rotated_pairs = anew(c.rotary_dim) / 2;
    const bool is_query = item < per_group;
    const bool is_value = item > per_group;
    const int others = is_value ? c.n_heads + c.n_kv_heads : c.n_heads;  // queries, keys, values follow each other
    const int head = is_query ? kv_head * per_group + item : others + kv_head;
    const float* from = a.act.qkv + head * HeadDim;
    const float* norm = is_query ? w.q_norm : is_value ? nullptr : w.k_norm;
    const bool halves = c.rope_kind == RopeKind::kHalves;
    const auto column = [&](int e) {
        const int pair = lane + e / 2 * 32;
        if (halves && pair < rotated_pairs) return pair + e % 2 * rotated_pairs;
        return 2 * pair + e % 2;
    };
    float weights[kElements];
    VIGIL_UNROLL
    for (int e = 0; e < kElements; ++e) weights[e] = norm != nullptr ? norm[column(e)] : 1.0f;
    float x[kElements];
    from += nearer_replica(from, control(m.team)->near_half);
    m.take(x, awaited, [&](int e) { return from + column(e); });
    __syncwarp();
    if (norm != nullptr) {
        float squares = 0.0f;
        VIGIL_UNROLL
        for (int e = 0; e < kElements; ++e) squares = fmaf(x[e], x[e], squares);
        const float scale = inverse_sqrt(m.team, fmaf(m.team.lane_sum(squares), 1.0f / HeadDim, c.norm_eps));
        VIGIL_UNROLL
        for (int e = 0; e < kElements; ++e) x[e] *= scale * weights[e];
    }
    VIGIL_UNROLL
    for (int e = 0; e < kElements; e += 2) {
        const int pair = lane + e / 2 * 32;
        if (is_value || pair >= rotated_pairs) continue;
        const float* turn = m.scratch()->rope + 2 * pair;
        rotate_pair(x[e], x[e + 1], turn[0], turn[1]);
    }
    if (!is_query) {
        std::uint16_t* cached = to.current + (is_value ? HeadDim : 0);
        std::uint16_t* cache =
            (is_value ? a.kv.v : a.kv.k) + part.cache + static_cast<std::size_t>(part.current) * HeadDim;
        VIGIL_UNROLL
        for (int e = 0; e < kElements; ++e) cache[column(e)] = cached[column(e)] = to_half(m.team, x[e]);
        return;
    }
    std::uint32_t largest = 0;
    VIGIL_UNROLL
    for (int e = 0; e < kElements; ++e) largest = max(largest, __float_as_uint(x[e]) & 0x7fffffffu);
    largest = __reduce_max_sync(~0u, largest);
    const std::uint32_t exponent = shared_exponent(largest);
    const float up = scale_up(exponent, 15);
    std::uint16_t* rows = to.parts + 2 * item * PreparedHeads<HeadDim>::kRowHalves;
    VIGIL_UNROLL
    for (int e = 0; e < kElements; ++e) {
        const std::uint32_t parts = two_parts(x[e] * up);
        const int place = PreparedHeads<HeadDim>::place(column(e));
        rows[place] = static_cast<std::uint16_t>(parts);
        rows[PreparedHeads<HeadDim>::kRowHalves + place] = static_cast<std::uint16_t>(parts >> 16);
    }
    if (lane == 0)
        to.scales[item] = largest < 0x7f800000u
                              ? c.attention_scale * 1.44269504f * __uint_as_float((exponent - 14) << 23)
                              : __int_as_float(0x7fffffff);  // no number, as the scores must not be
}

// ---- tiles --------------------------------------------------------------------------------------------------

// A lane's keys and values of a tile. Positions past the part's last one repeat it.
template <int HeadDim>
struct KvTile {
    static constexpr int kPieces = HeadDim / 32;
    uint4 keys[kPieces];  // columns 32j + 8t … of position g
    uint4 values[2];      // columns 8g … of the warp's, positions 2t and 2t + 1

    // The tile begins at position `first`; position 0 is at `k` and `v`, at the lane's columns.
    VIGIL_DEVICE void load(const Team& team, const std::uint16_t* k, const std::uint16_t* v, int first, int last,
                           int lane) {
        const std::uint16_t* key = k + min(first + row_of(lane), last) * HeadDim;
        VIGIL_UNROLL
        for (int j = 0; j < kPieces; ++j) keys[j] = fetch_half8(team, key + 32 * j);
        VIGIL_UNROLL
        for (int i = 0; i < 2; ++i)
            values[i] = fetch_half8(team, v + min(first + 2 * part_of(lane) + i, last) * HeadDim);
    }
    // Where the lane's share of a tile's bytes is in the cache.
    static VIGIL_DEVICE int line(int first, int last, int lane) {
        constexpr int kHalves = kTilePositions * HeadDim / 32;
        constexpr int kLanes = HeadDim / kHalves;  // of a position
        return min(first + lane / kLanes, last) * HeadDim + lane % kLanes * kHalves;
    }
    // The last position was not in the cache yet: what the block has prepared, at the lane's columns, instead.
    VIGIL_DEVICE void replace_last(Shared key, Shared value, int first, int last, int lane) {
        VIGIL_UNROLL
        for (int j = 0; j < kPieces; ++j)
            load_shared16_if(first + row_of(lane) >= last, key + static_cast<Shared>(64 * j), keys[j]);
        VIGIL_UNROLL
        for (int i = 0; i < 2; ++i) load_shared16_if(first + 2 * part_of(lane) + i >= last, value, values[i]);
    }

    // The score of position g; `query` is where the parts are that the lane's column of the instruction has. Its upper
    // rows are the same positions as its lower ones: what a lane reads at once is two pairs of columns for each, which
    // want a product of their own.
    VIGIL_DEVICE float score(Shared query) const {
        float c[2][4] = {};
        VIGIL_UNROLL
        for (int j = 0; j < kPieces; ++j) {
            const uint4 q = load_shared16(query + static_cast<Shared>(64 * j));
            mma_half(c[0], keys[j].x, keys[j].y, keys[j].z, keys[j].w, q.x, q.y);
            mma_half(c[1], keys[j].x, keys[j].y, keys[j].z, keys[j].w, q.z, q.w);
        }
        return (c[0][0] + c[0][1]) + (c[1][2] + c[1][3]);
    }
};

// What a lane knows of its head from the tiles so far: the highest score before scaling, and for weights relative to it
// their sum, over the lane's positions only, and the weighted values, both parts of a weight apart.
struct HeadState {
    float highest;
    float sum;
    float values[4][4];  // columns 8g + 2m and 8g + 2m + 1

    VIGIL_DEVICE void clear() {
        highest = -INFINITY;
        sum = 0.0f;
        VIGIL_UNROLL
        for (int m = 0; m < 4; ++m) {
            VIGIL_UNROLL
            for (int i = 0; i < 4; ++i) values[m][i] = 0.0f;
        }
    }

    // All lanes of the warp. The score of a position that does not exist is -inf.
    VIGIL_DEVICE void add(const uint4 (&v)[2], float score, float scale) {
        float top = fmaxf(highest, score);
        VIGIL_UNROLL
        for (int mask = 4; mask < 32; mask *= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, mask));
        const float keep = exp2_approximate((highest - top) * scale);
        const float weight = exp2_approximate(fmaf(score, scale, fmaf(top, -scale, kWeightBits)));
        highest = top;
        sum = fmaf(sum, keep, weight);
        const std::uint32_t parts = transpose_halves(two_parts(weight));
        VIGIL_UNROLL
        for (int m = 0; m < 4; ++m) {
            VIGIL_UNROLL
            for (int i = 0; i < 4; ++i) values[m][i] *= keep;
        }
        const auto add_columns = [&](float(&to)[4], std::uint32_t even, std::uint32_t odd) {
            mma_half(to, __byte_perm(even, odd, 0x5410), __byte_perm(even, odd, 0x7632), parts);
        };
        add_columns(values[0], v[0].x, v[1].x);
        add_columns(values[1], v[0].y, v[1].y);
        add_columns(values[2], v[0].z, v[1].z);
        add_columns(values[3], v[0].w, v[1].w);
    }
};

// ---- merging ------------------------------------------------------------------------------------------------

// What is known of one element of a head from warps' findings, or from blocks' parts, so far: the sum of the weights
// and the weighted value are relative to the highest score, which is to the base 2.
struct Merged {
    float top = -INFINITY;
    float sum = 0.0f;
    float value = 0.0f;

    // N more, none of them and not `top` with a score above `highest`.
    template <int N>
    VIGIL_DEVICE void add(float highest, const float* tops, const float* sums, const float* values) {
        const float keep = exp2_approximate(top - highest);
        sum *= keep;
        value *= keep;
        top = highest;
        VIGIL_UNROLL
        for (int k = 0; k < N; ++k) {
            const float weight = exp2_approximate(tops[k] - top);
            sum = fmaf(sums[k], weight, sum);
            value = fmaf(values[k], weight, value);
        }
    }
};

// ---- merging the warps --------------------------------------------------------------------------------------

// What the warps leave for each other, in the partial sums of the weight stream: no phase but a product uses them, and
// attend_parts has a barrier before the next one. For each warp a slot of four rows, one per head: the values, then
// {highest score to the base 2, sum}.
struct WarpSlots {
    static constexpr int kRowBytes = (kWarpColumns + 4) * 4;
    static constexpr int kSlotBytes = kPassHeads * kRowBytes;
    static constexpr int kStatistics = kWarpColumns * 4;  // where they begin in a row
    static_assert(tiles::kWarps * kSlotBytes <= 2 * kPartialBytes, "in both buffers");

    Shared slots;
    int jobs_log2;

    VIGIL_DEVICE Shared row(int job, int index, int head) const {
        return slots + static_cast<Shared>(((index << jobs_log2) + job) * kSlotBytes + head * kRowBytes);
    }
    VIGIL_DEVICE int step() const { return kSlotBytes << jobs_log2; }  // to the next warp that has the job

    VIGIL_DEVICE void store(int job, int index, int lane, const HeadState& s, float scale) const {
        const Shared to = row(job, index, part_of(lane));
        const Shared columns = to + static_cast<Shared>(32 * row_of(lane));
        const auto value = [&](int m, int i) { return s.values[m][i] + s.values[m][i + 1]; };
        store_shared16(columns, value(0, 0), value(0, 2), value(1, 0), value(1, 2));
        store_shared16(columns + 16, value(2, 0), value(2, 2), value(3, 0), value(3, 2));
        float sum = s.sum;
        VIGIL_UNROLL
        for (int mask = 4; mask < 32; mask *= 2) sum += __shfl_xor_sync(~0u, sum, mask);
        if (row_of(lane) == 0)
            store_shared8(to + kStatistics, __float_as_uint(s.highest * scale), __float_as_uint(sum));
    }
};

// ---- the phase ----------------------------------------------------------------------------------------------

// The parts of a head, one after the other: values, the highest score to the base 2, the sum.
template <int HeadDim>
VIGIL_DEVICE float* published_part(const KernelArgs& a, int head) {
    return a.act.partials + head * a.plan.max_kv_splits * part_floats(HeadDim);
}

// One part, by all threads of the block.
template <int HeadDim, class M>
VIGIL_DEVICE void attend_part(M& m, const KernelArgs& a, const LayerWeights& w, int kv_head, int split,
                              const AttentionPart& part, const Awaited& awaited) {
    using Tile = KvTile<HeadDim>;
    constexpr int kRowBytes = 2 * PreparedHeads<HeadDim>::kRowHalves;
    const int per_group = m.scratch()->attention.per_group;
    const int lane = m.team.thread() & 31;
    const PreparedHeads<HeadDim> prepared(m.area(), per_group);

    // The last warps prepare, and only they wait: the others' keys and values are on their way meanwhile.
    const int n_items = per_group + (part.current >= 0 ? 2 : 0);
    VIGIL_UNROLL_BY(1)
    for (int item = tiles::kWarps - 1 - (m.team.thread() >> 5); item < n_items; item += tiles::kWarps)
        prepare_head(m, a, w, prepared, kv_head, item, lane, part, awaited);
    // Every warp says so, since what they leave for each other lies where some may still read the last phase's sums.
    const Shared heads_ready = shared_address(&control(m.team)->heads_ready);
    m.team.stream.next_heads();
    __syncwarp();
    if (lane < kArrivingLanes) barrier_arrive(heads_ready, 1);

    const WarpPlace<HeadDim> place(per_group, m.team.thread() >> 5);
    const int last = part.end - 1;
    int first = part.begin + place.index * kTilePositions;
    const WarpSlots slots{control(m.team)->partials, place.jobs_log2};
    if (first <= last && place.first_head() < per_group) {
        const int value_column = place.columns() * kWarpColumns + row_of(lane) * 8;
        const std::uint16_t* keys = anew(a.kv.k + part.cache + part_of(lane) * 8);
        const std::uint16_t* values = anew(a.kv.v + part.cache + value_column);
        const int step = place.warps_each() * kTilePositions;
        // There are no registers for more than one tile: those behind it come into L2. Of two warps that work on a tile
        // one asks for the keys and one for the values.
        const auto ask_for_l2 = [&](int ahead) {
            if (first + ahead * step > last) return;
            const int at = Tile::line(first + ahead * step, last, lane);
            if (place.columns() == 0) prefetch_l2(keys - part_of(lane) * 8 + at);
            if (place.columns() == WarpPlace<HeadDim>::kColumnsLog2) prefetch_l2(values - value_column + at);
        };
        Tile tile;
        tile.load(m.team, keys, values, first, last, lane);
        VIGIL_UNROLL_BY(1)
        for (int ahead = 1; ahead < kTilesAhead; ++ahead) ask_for_l2(ahead);
        while (!barrier_passed(heads_ready, m.team.stream.heads() ^ 1)) {
        }
        __syncwarp();  // the matrix instructions want the warp converged
        m.trace_gathered(a);
        if (part.current >= 0 && first + kTilePositions > last) {
            const Shared current = shared_address(prepared.current);
            tile.replace_last(current + static_cast<Shared>(part_of(lane) * 16),
                              current + static_cast<Shared>(2 * (HeadDim + value_column)), first, last, lane);
        }
        // Columns and heads beyond the group repeat its last one, and nobody looks at what becomes of them.
        const int row = min(2 * place.first_head() + row_of(lane), 2 * per_group - 1);
        const Shared query = shared_address(prepared.parts) + static_cast<Shared>(row * kRowBytes + part_of(lane) * 16);
        const float scale = prepared.scales[min(place.first_head() + part_of(lane), per_group - 1)];
        HeadState state;
        state.clear();
        VIGIL_UNROLL_BY(1)
        do {
            float score = tile.score(query);
            ask_for_l2(kTilesAhead);
            if (first + row_of(lane) > last) score = -INFINITY;
            state.add(tile.values, score, scale);
            first += step;
            if (first <= last) tile.load(m.team, keys, values, first, last, lane);
        } while (first <= last);
        slots.store(place.job, place.index, lane, state, scale);
    }
    m.team.sync();

    const int n_warps = min((last - part.begin) / kTilePositions + 1, place.warps_each());  // that had tiles, of a job
    VIGIL_UNROLL_BY(1)
    for (int i = m.team.thread(); i < per_group * HeadDim; i += kConsumers) {
        const int head = i / HeadDim;
        const int column = i & (HeadDim - 1);
        const int job = head / kPassHeads << WarpPlace<HeadDim>::kColumnsLog2 | column / kWarpColumns;
        const Shared row = slots.row(job, 0, head % kPassHeads);
        const auto at = [&](int n, int offset) { return row + static_cast<Shared>(n * slots.step() + offset); };
        Merged merged;
        VIGIL_UNROLL_BY(1)
        for (int n = 0; n < n_warps; n += kMergedAtOnce) {
            float tops[kMergedAtOnce], sums[kMergedAtOnce], of_warp[kMergedAtOnce];
            float highest = merged.top;
            VIGIL_UNROLL
            for (int k = 0; k < kMergedAtOnce; ++k) {
                uint2 found = {__float_as_uint(-INFINITY), 0};
                of_warp[k] = 0.0f;
                if (n + k < n_warps) {
                    found = load_shared8(at(n + k, WarpSlots::kStatistics));
                    of_warp[k] = load_shared_float(at(n + k, 4 * (column % kWarpColumns)));
                }
                tops[k] = __uint_as_float(found.x);
                sums[k] = __uint_as_float(found.y);
                highest = fmaxf(highest, tops[k]);
            }
            merged.add<kMergedAtOnce>(highest, tops, sums, of_warp);
        }
        float* to = published_part<HeadDim>(a, kv_head * per_group + head) + split * part_floats(HeadDim);
        m.publish_once(to + column, merged.value, awaited.epoch);
        if (column > 0) continue;
        m.publish_once(to + HeadDim, merged.top, awaited.epoch);
        m.publish_once(to + HeadDim + 1, merged.sum, awaited.epoch);
    }
}

// The block's parts.
template <int HeadDim, class M>
VIGIL_DEVICE void attend_parts(M& m, const KernelArgs& a, const LayerWeights& w, int layer, const TokenContext& t) {
    const ModelConfig& c = a.config;
    const Awaited awaited{ring::Phase::kAttention, layer, layer_epoch(a, t, layer)};
    const AttentionShape& shape = m.scratch()->attention;
    int kv_head = shape.first_kv_head;
    int split = shape.first_split;
    VIGIL_UNROLL_BY(1)
    for (int item = m.team.block(); item < c.n_kv_heads * shape.n_splits; item += m.team.n_blocks()) {
        if (item != m.team.block()) {
            kv_head = item / shape.n_splits;
            split = item % shape.n_splits;
        }
        const bool appends = split + 1 == shape.n_splits;
        AttentionPart part;
        part.cache =
            ((static_cast<std::size_t>(layer) * c.n_kv_heads + kv_head) * c.max_seq_len + t.kv_first) * HeadDim;
        part.begin = split * shape.split_length;
        part.end = appends ? t.position + 1 : part.begin + shape.split_length;
        part.current = appends ? t.position : -1;
        attend_part<HeadDim>(m, a, w, kv_head, split, part, awaited);
        m.team.sync();  // nobody reads what the warps left in the partial sums any more
        m.team.stream.set_met();
    }
}

// Neighbouring elements of a head, a lane of each four for one: from every eighth part, `AtOnce` of them at a time.
template <int HeadDim, int AtOnce, class M>
VIGIL_DEVICE void combine_elements(M& m, const KernelArgs& a, int begin, int n_parts, const Awaited& awaited) {
    static_assert(kCombinedAtOnce == 4 && HeadDim % kCombinedAtOnce == 0, "of one head");
    constexpr int kLanes = 32 / kCombinedAtOnce;
    const int lane = m.team.lane();
    const int element = begin + (lane & (kCombinedAtOnce - 1));
    const float* parts = published_part<HeadDim>(a, element / HeadDim);
    Merged merged;
    VIGIL_UNROLL_BY(1)
    for (int first = lane / kCombinedAtOnce; first - lane / kCombinedAtOnce < n_parts; first += AtOnce * kLanes) {
        float x[3 * AtOnce];  // highest scores, sums, values
        m.take(x, awaited, [&](int i) {
            const int offset = i < AtOnce ? HeadDim : i < 2 * AtOnce ? HeadDim + 1 : element & (HeadDim - 1);
            return parts + min(first + i % AtOnce * kLanes, n_parts - 1) * part_floats(HeadDim) + offset;
        });
        m.trace_gathered(a);
        __syncwarp();
        float highest = merged.top;
        VIGIL_UNROLL
        for (int i = 0; i < AtOnce; ++i) {
            if (first + i * kLanes >= n_parts) x[i] = -INFINITY;
            highest = fmaxf(highest, x[i]);
        }
        highest = max_in_warp(m, highest);  // all lanes have parts of the same head
        merged.add<AtOnce>(highest, x, x + AtOnce, x + 2 * AtOnce);
    }
    VIGIL_UNROLL
    for (int mask = kCombinedAtOnce; mask < 32; mask *= 2) {
        merged.sum += __shfl_xor_sync(~0u, merged.sum, mask);
        merged.value += __shfl_xor_sync(~0u, merged.value, mask);
    }
    if (lane < kCombinedAtOnce)
        m.publish(a.act.heads + element, merged.value * reciprocal_approximate(merged.sum), awaited.epoch);
}

template <int HeadDim, class M>
VIGIL_DEVICE void combine_parts(M& m, const KernelArgs& a, int layer, const TokenContext& t) {
    const Awaited awaited{ring::Phase::kCombine, layer, layer_epoch(a, t, layer)};
    const int n_parts = m.scratch()->attention.n_splits;
    const Range elements = m.scratch()->shares.heads;
    VIGIL_UNROLL_BY(1)
    for (int e = elements.begin + kCombinedAtOnce * m.team.warp(); e < elements.end;
         e += kCombinedAtOnce * tiles::kWarps)
        if (n_parts <= 2 * 32 / kCombinedAtOnce)
            combine_elements<HeadDim, 2>(m, a, e, n_parts, awaited);
        else
            combine_elements<HeadDim, 4>(m, a, e, n_parts, awaited);
}

}  // namespace vigil::device::sm90

namespace vigil::device {

template <std::uint32_t K, class X>
VIGIL_DEVICE void attention(StreamMachine<K, X>& m, const KernelArgs& a, const LayerWeights& w, int layer,
                            const TokenContext& t) {
    if constexpr (K == sm90::kAllKinds) {
        attention<StreamMachine<K, X>>(m, a, w, layer, t);  // by its explicit argument the portable one
    } else {
        layer = sm90::anew(layer);
        if (sm90::anew(a.config.head_dim) == 64)
            sm90::attend_parts<64>(m, a, w, layer, t);
        else
            sm90::attend_parts<128>(m, a, w, layer, t);
    }
}

template <std::uint32_t K, class X>
VIGIL_DEVICE void combine_splits(StreamMachine<K, X>& m, const KernelArgs& a, int layer, const TokenContext& t) {
    if constexpr (K == sm90::kAllKinds) {
        combine_splits<StreamMachine<K, X>>(m, a, layer, t);  // the portable one
    } else {
        layer = sm90::anew(layer);
        if (sm90::anew(a.config.head_dim) == 64)
            sm90::combine_parts<64>(m, a, layer, t);
        else
            sm90::combine_parts<128>(m, a, layer, t);
    }
}

}  // namespace vigil::device
