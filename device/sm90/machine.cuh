// The Hopper path's part of the phases' vocabulary, found by overload on the Team: a block's share of a matrix in
// tiles, the input prepared for matrix instructions, products from the weight stream. The phases themselves are the
// same.
//
// `rows` of BlockRows and RowPairs, and the block's shares, count tiles of 16 rows here, those of the second matrix
// after those of the first. A block whose share is empty does not even wait for the input.
#pragma once

#include "device/layer.cuh"
#include "device/sm90/products.cuh"
#include "device/sm90/stream.cuh"

namespace vigil::device {

template <class Exchange>
using StreamMachine = Machine<sm90::Team, Exchange>;

namespace sm90 {

VIGIL_DEVICE std::uint32_t kinds_of(const BlockRows& b) {
    std::uint32_t kinds = tiles::input_kind(b.first->format);
    if (b.second != nullptr) kinds |= tiles::input_kind(b.second->format) | tiles::input_kind(b.third->format);
    return kinds;
}
VIGIL_DEVICE std::uint32_t kinds_of(const RowPairs& p) {
    return tiles::input_kind(p.first.format) | tiles::input_kind(p.second.format);
}

// visit(matrix, first tile, tiles, number of the matrix's row 0) for each run of a block's share, in the stream's
// order.
template <class Visit>
VIGIL_DEVICE void for_each_run(const BlockRows& b, Visit&& visit) {
    int tiles_before = 0;
    int rows_before = 0;
    VIGIL_UNROLL_BY(1)
    for (int i = 0; i < 3; ++i) {
        const Tensor* matrix = i == 0 ? b.first : i == 1 ? b.second : b.third;
        if (matrix == nullptr) return;
        const int n_tiles = tiles::row_tiles(matrix->rows);
        const int end = min(b.rows.end - tiles_before, n_tiles);
        for (int tile = max(b.rows.begin - tiles_before, 0); tile < end; tile += kBatchTiles)
            visit(*matrix, tile, min(kBatchTiles, end - tile), rows_before);
        tiles_before += n_tiles;
        rows_before += matrix->rows;
    }
}

// visit(first tile, tiles) for each pair of runs.
template <class Visit>
VIGIL_DEVICE void for_each_run(const RowPairs& p, Visit&& visit) {
    constexpr int kPairs = kBatchTiles / 2;
    for (int tile = p.rows.begin; tile < p.rows.end; tile += kPairs) visit(tile, min(kPairs, p.rows.end - tile));
}

// ---- the list of runs ---------------------------------------------------------------------------------------

// Writes runs one after the other, or only counts them.
struct RunWriter {
    Run* to;
    int n = 0;

    VIGIL_DEVICE void add(const Tensor& w, int tile, int n_tiles) {
        Run run;
        run.from = static_cast<const char*>(w.data) + static_cast<std::size_t>(tile) * tiles::tile_bytes(w.tiles);
        run.n_chunks = static_cast<std::uint16_t>(n_tiles * w.tiles.chunks_per_tile);
        run.chunks_per_stage = static_cast<std::uint16_t>(w.tiles.chunks_per_stage);
        run.chunk_bytes = static_cast<std::uint32_t>(w.tiles.chunk_bytes);
        if (to != nullptr) to[n] = run;
        ++n;
    }
    VIGIL_DEVICE void add(const BlockRows& b) {
        for_each_run(b, [&](const Tensor& w, int tile, int n_tiles, int) { add(w, tile, n_tiles); });
    }
    VIGIL_DEVICE void add(const RowPairs& p) {
        for_each_run(p, [&](int tile, int n_tiles) {
            add(p.first, tile, n_tiles);
            add(p.second, tile, n_tiles);
        });
    }
    // The runs of one phase.
    VIGIL_DEVICE void add(ring::Phase phase, const LayerWeights& w, const BlockShares& shares) {
        if (phase == ring::Phase::kQkv) add(BlockRows{&w.wq, &w.wk, &w.wv, shares.qkv});
        if (phase == ring::Phase::kOutputProj) add(BlockRows{&w.wo, nullptr, nullptr, shares.residual});
        if (phase == ring::Phase::kGateUp) add(RowPairs{w.w_gate, w.w_up, shares.hidden});
        if (phase == ring::Phase::kDown) add(BlockRows{&w.w_down, nullptr, nullptr, shares.residual});
    }
    VIGIL_DEVICE void add_layer(const LayerWeights& w, const BlockShares& shares) {
        add(ring::Phase::kQkv, w, shares);
        add(ring::Phase::kOutputProj, w, shares);
        add(ring::Phase::kGateUp, w, shares);
        add(ring::Phase::kDown, w, shares);
    }
};

// The block's share of the output matrix, whose order of addition goes by tiles of kTileRows logits. Thread 0 leaves
// the matrix in shared memory; others may use the result once the block has synchronised.
template <class M>
VIGIL_DEVICE BlockRows vocab_share(const M& m, const KernelArgs& a) {
    static_assert(kTileRows % tiles::kRows == 0, "whole tiles");
    if (m.team.thread() == 0) m.scratch()->output[0] = a.weights.output;
    const Range rows = logit_rows(a.config, m.team.block(), m.team.n_blocks());
    return {&m.scratch()->output[0], nullptr, nullptr, {rows.begin / tiles::kRows, tiles::row_tiles(rows.end)}};
}

VIGIL_DEVICE void publish_runs(const Team& team, int first_logits, int n) {
    StreamControl* c = control(team);
    c->first_logits = static_cast<std::uint32_t>(first_logits);
    store_release_shared(&c->n_runs, static_cast<std::uint32_t>(n));  // pairs with Producer::run
}

// ---- products -----------------------------------------------------------------------------------------------

// A run to be multiplied.
struct RunView {
    StreamControl* control;
    StreamCursor cursor;  // at its first stage
    int n_chunks;
    int ordinal;  // of its first chunk, among those since the block's barrier
    int first;    // tile of the partial sums
};

// To be asked after each look at a stage whose weights are not there: false when the deadline is over or the block has
// given up. It calls nothing, since whoever waits holds many registers. Under launch dispatch there is nobody to report
// to, and copies that never end are the driver's.
VIGIL_DEVICE bool keeps_waiting_for_stage(StreamControl* c, std::uint32_t spins, std::uint64_t& give_up, int stage) {
    if (spins % 256 != 255) return true;
    auto* scratch = reinterpret_cast<BlockScratch*>(c + 1);
    const Patience& p = scratch->patience;
    if (p.sync == nullptr) return true;
    const std::uint64_t now = CudaTeam::clock_ns();
    if (give_up == 0) give_up = now + p.deadline_ns;
    if (ring::load_relaxed(&scratch->failed) != 0) return false;
    if (now < give_up) return true;
    ring::store_relaxed(&scratch->failed, 1u);
    ring::store_relaxed(&p.fault->phase, static_cast<std::uint32_t>(ring::Phase::kWeights));
    ring::store_relaxed(&p.fault->layer, -1);
    ring::store_relaxed(&p.fault->expected, static_cast<std::uint32_t>(stage));
    // Pairs with the supervisor's load_acquire after the kernel has left.
    ring::store_release(&p.fault->fault, static_cast<std::uint32_t>(ring::Fault::kDeadline));
    ring::store_relaxed(&p.sync->abort, 1u);
    return false;
}

// multiply(chunk, first slab of it, sum) for this warp's chunks; leaves one sum per row and slot.
template <class Multiply>
VIGIL_DEVICE void multiply_chunks(const RunView& r, const TileShape& shape, int warp, int lane, Multiply&& multiply) {
    constexpr int kWarps = kConsumers / 32;
    const int slabs = shape.chunk_cols / tiles::kSlabCols;
    const int n_stages = r.control->n_stages;
    const int stage_bytes = r.control->stage_bytes;
    const Shared stages = r.control->stages;
    const Shared partials =
        r.control->partials + static_cast<Shared>(r.cursor.half() * kPartialBytes + r.first * kSlots * kSlotFloats * 4);
    int stage = r.cursor.stage();
    std::uint32_t parity = r.cursor.parity();
    int use = 0;
    float2 sum = {0.0f, 0.0f};
    VIGIL_UNROLL_BY(1)
    for (int i = (warp - r.ordinal) & (kWarps - 1); i < r.n_chunks; i += kWarps) {
        const auto by = [&](std::uint32_t reciprocal) {
            return reciprocal == 0 ? i : static_cast<int>(__umulhi(static_cast<std::uint32_t>(i), reciprocal));
        };
        const int tile = by(shape.per_tile_reciprocal);
        const int k = i - tile * shape.chunks_per_tile;
        const int next_use = by(shape.per_stage_reciprocal);
        const int within = i - next_use * shape.chunks_per_stage;
        stage += next_use - use;
        use = next_use;
        if (stage >= n_stages) {
            stage -= n_stages;
            parity ^= 1;
        }
        const Shared full = full_barrier(r.control, stage);
        std::uint64_t give_up = 0;
        for (std::uint32_t spins = 0; !barrier_passed(full, parity); ++spins)
            if (!keeps_waiting_for_stage(r.control, spins, give_up, stage)) break;
        __syncwarp();  // the matrix instructions want the warp converged
        multiply(stages + static_cast<Shared>(stage * stage_bytes + within * shape.chunk_bytes), k * slabs, sum);
        __syncwarp();
        if (lane == 0) {
            // The stage's first chunk arrives for those that it lacks.
            const int there = min(shape.chunks_per_stage, r.n_chunks - i);
            barrier_arrive(empty_barrier(r.control, stage),
                           within == 0 ? static_cast<std::uint32_t>(tiles::kMaxChunksPerStage + 1 - there) : 1u);
        }
        if (k + kWarps < shape.chunks_per_tile) continue;  // the next one is of the same tile
        sum.x += __shfl_xor_sync(~0u, sum.x, 1);
        sum.y += __shfl_xor_sync(~0u, sum.y, 1);
        sum.x += __shfl_xor_sync(~0u, sum.x, 2);
        sum.y += __shfl_xor_sync(~0u, sum.y, 2);
        if (lane % 4 == 0) {
            const Shared to =
                partials + static_cast<Shared>(((tile * kSlots + k % kSlots) * kSlotFloats + lane / 4) * 4);
            store_shared_float(to, sum.x);
            store_shared_float(to + 32, sum.y);
        }
        sum = {0.0f, 0.0f};
    }
}

// One copy for all phases: it holds a loop per format.
VIGIL_DEVICE_CALLED void multiply_run(const RunView r, const Tensor* matrix, Shared input, std::uint32_t kinds) {
    const int warp = thread_index() / 32;
    const int lane = thread_index() % 32;
    const TileShape shape = matrix->tiles;
    const InputView in(input, tiles::InputLayout(kinds, matrix->cols), lane);
    const int slabs = shape.chunk_cols / tiles::kSlabCols;
    const auto by_slabs = [&](int slab_bytes, auto&& multiply) {
        multiply_chunks(r, shape, warp, lane, [&](Shared chunk, int first_slab, float2& sum) {
            VIGIL_UNROLL_BY(1)
            for (int s = 0; s < slabs; ++s)
                multiply(chunk + static_cast<Shared>(s * slab_bytes), in, first_slab + s, sum);
        });
    };
    const auto by_chunk = [&](auto&& multiply) {
        multiply_chunks(r, shape, warp, lane,
                        [&](Shared chunk, int first_slab, float2& sum) { multiply(chunk, in, first_slab, sum); });
    };
    switch (matrix->format) {
        case TensorFormat::kF16:
            return by_slabs(2048, multiply_halves<false>);
        case TensorFormat::kBF16:
            return by_slabs(2048, multiply_halves<true>);
        case TensorFormat::kF32:
            return by_slabs(4096, multiply_floats);
        case TensorFormat::kQ8_0:
            return by_slabs(Blocks32<8, Offset::kNone>::kSlabBytes, Blocks32<8, Offset::kNone>::multiply);
        case TensorFormat::kQ4_0:
            return by_slabs(Blocks32<4, Offset::kCentred>::kSlabBytes, Blocks32<4, Offset::kCentred>::multiply);
        case TensorFormat::kQ4_1:
            return by_slabs(Blocks32<4, Offset::kStored>::kSlabBytes, Blocks32<4, Offset::kStored>::multiply);
        case TensorFormat::kQ5_0:
            return by_slabs(Blocks32<5, Offset::kCentred>::kSlabBytes, Blocks32<5, Offset::kCentred>::multiply);
        case TensorFormat::kQ5_1:
            return by_slabs(Blocks32<5, Offset::kStored>::kSlabBytes, Blocks32<5, Offset::kStored>::multiply);
        case TensorFormat::kQ4_K:
            return by_chunk(Blocks256<4>::multiply);
        case TensorFormat::kQ5_K:
            return by_chunk(Blocks256<5>::multiply);
        case TensorFormat::kQ6_K:
            return by_chunk(BlocksQ6K::multiply);
        default:
            __trap();  // no tiles of it are ever made
    }
}

// Multiplies a run that begins at slot group `first` of the partial sums; `ordinal` chunks of another came before it
// since the block's last barrier. Moves the block's cursor behind it.
template <class M>
VIGIL_DEVICE void take_run(M& m, const Tensor& matrix, int n_tiles, int first, int ordinal, std::uint32_t kinds) {
    StreamControl* c = control(m.team);
    const TileShape& shape = matrix.tiles;
    const int n_chunks = n_tiles * shape.chunks_per_tile;
    multiply_run({c, m.team.stream, n_chunks, ordinal, first}, &matrix, shared_address(m.area()), kinds);
    const auto last = static_cast<std::uint32_t>(n_chunks - 1);
    int stage = m.team.stream.stage() + 1 +
                static_cast<int>(shape.per_stage_reciprocal == 0 ? last : __umulhi(last, shape.per_stage_reciprocal));
    std::uint32_t parity = m.team.stream.parity();
    for (; stage >= c->n_stages; stage -= c->n_stages) parity ^= 1;
    m.team.stream.move_to(stage, parity);
}

// Four lanes add up a row's slots in a fixed order; all four get the sum.
template <class M>
VIGIL_DEVICE float sum_slots(const M& m, int tile, int row, int chunks_per_tile, bool exists) {
    const Shared from = control(m.team)->partials + static_cast<Shared>(m.team.stream.half() * kPartialBytes +
                                                                        (tile * kSlots * kSlotFloats + row) * 4);
    const int n_slots = min(chunks_per_tile, kSlots);
    float sum = 0.0f;
    VIGIL_UNROLL
    for (int i = 0; i < kSlots / 4; ++i) {
        const int slot = 4 * i + m.team.lane() % 4;
        if (exists && slot < n_slots) sum += load_shared_float(from + static_cast<Shared>(slot * kSlotFloats * 4));
    }
    return m.team.lane_sum(sum, 4);
}

// The thread's place among the rows of a batch: four threads to a row.
VIGIL_DEVICE int batch_tile(const Team& team) {
    return team.thread() / (4 * tiles::kRows);
}
VIGIL_DEVICE int batch_row(const Team& team) {
    return team.thread() / 4 % tiles::kRows;
}

// The warps' sums of squares of the last input behind a norm. Two sets in turn: a warp may still read one while another
// is at the next input.
template <class M>
VIGIL_DEVICE float* warp_squares(const M& m) {
    static_assert(2 * kConsumers / 32 <= kMaxWarps, "two sets");
    static_assert(offsetof(BlockScratch, reduce) % sizeof(float4) == 0, "norm_scale reads four at once");
    return m.scratch()->reduce + m.team.stream.norm() * (kConsumers / 32);
}

// What the products are to be multiplied by. The sums of all warps are read at once: they are few.
template <class M>
VIGIL_DEVICE float norm_scale(const M& m, const Input& in) {
    if (in.normed == 0) return 1.0f;
    const auto* sums = reinterpret_cast<const float4*>(warp_squares(m));
    float total = 0.0f;
    VIGIL_UNROLL
    for (int i = 0; i < kConsumers / 32 / 4; ++i) {
        const float4 four = sums[i];
        total += (four.x + four.y) + (four.z + four.w);
    }
    return inverse_sqrt(m.team, total / static_cast<float>(in.normed) + in.eps);
}

// The vector, times the norm's weight if there is one, into the phases' area; returns the lane's sum of squares.
template <class M>
VIGIL_DEVICE float prepare_input(M& m, std::uint32_t kinds, const float* from, const float* weight, int n,
                                 const Awaited& awaited) {
    constexpr int kGroups = 2;  // of 128 values per warp, whose words are looked at together
    const tiles::InputLayout layout(kinds, n);
    const Shared to = shared_address(m.area());
    const int lane = m.team.lane();
    float squares = 0.0f;
    VIGIL_UNROLL_BY(1)
    for (int first = 128 * m.team.warp(); first < n; first += kGroups * 4 * kConsumers) {
        Quad quads[kGroups];
        float4 weights[kGroups];
        VIGIL_UNROLL
        for (int u = 0; u < kGroups; ++u) {
            const int i = first + u * 4 * kConsumers + 4 * lane;
            weights[u] = {1.0f, 1.0f, 1.0f, 1.0f};
            if (i >= n) continue;
            if (weight != nullptr) weights[u] = *reinterpret_cast<const float4*>(weight + i);
            quads[u] = Team::load_quad(from + i);
        }
        VIGIL_UNROLL
        for (int u = 0; u < kGroups; ++u) {
            const int base = first + u * 4 * kConsumers;
            if (base >= n) break;  // for the whole warp
            const int i = base + 4 * lane;
            const bool inside = i < n;
            float v[4] = {0.0f, 0.0f, 0.0f, 0.0f};
            if (inside) {
                const Quad quad = m.complete4(quads[u], from + i, awaited);
                const float w[4] = {weights[u].x, weights[u].y, weights[u].z, weights[u].w};
                VIGIL_UNROLL
                for (int j = 0; j < 4; ++j) {
                    const float value = untagged(quad.word[j]);
                    squares = fused(m.team, value, value, squares);
                    v[j] = value * w[j];
                }
            }
            __syncwarp();
            store_input(to, layout, kinds, i, lane, inside, v);
        }
    }
    return squares;
}

}  // namespace sm90

// ---- overloads ----------------------------------------------------------------------------------------------

template <class X>
VIGIL_DEVICE void prepare_shares(const StreamMachine<X>& m, const KernelArgs& a) {
    if (m.team.thread() != 0) return;
    const ModelConfig& c = a.config;
    const auto mine = [&](int n) { return share(n, m.team.block(), m.team.n_blocks()); };
    BlockShares& shares = m.scratch()->shares;
    shares.qkv = mine(tiles::row_tiles(head_rows(c)) + 2 * tiles::row_tiles(kv_rows(c)));
    shares.heads = mine(head_rows(c));
    shares.residual = mine(tiles::row_tiles(c.dim));
    shares.hidden = mine(tiles::row_tiles(c.ffn_dim));
}

// The block's runs of all layers and of the logits, each thread a layer's. A block's share of a phase is the same in
// every layer, and so is the number of its runs.
template <class X>
VIGIL_DEVICE void open_stream(StreamMachine<X>& m, const KernelArgs& a) {
    auto* runs = sm90::control(m.team)->runs;
    const BlockShares& shares = m.scratch()->shares;
    const int n_layers = a.config.n_layers;
    sm90::RunWriter counter{nullptr};
    counter.add_layer(a.weights.layers[0], shares);
    const int per_layer = counter.n;
    const int n = n_layers * per_layer;
    for (int layer = m.team.thread(); layer < n_layers; layer += m.team.n_threads()) {
        sm90::RunWriter writer{runs + layer * per_layer};
        writer.add_layer(a.weights.layers[layer], shares);
    }
    m.team.sync();
    if (m.team.thread() != 0) return;
    sm90::RunWriter writer{runs + n};
    writer.add(sm90::vocab_share(m, a));
    sm90::publish_runs(m.team, n, n + writer.n);
}

// The runs of one step, for launch and graph dispatch.
template <class X>
VIGIL_DEVICE void open_stream(StreamMachine<X>& m, const KernelArgs& a, ring::Phase phase, const LayerWeights& w) {
    if (m.team.thread() != 0) return;
    sm90::RunWriter writer{sm90::control(m.team)->runs};
    if (phase == ring::Phase::kLogits)
        writer.add(sm90::vocab_share(m, a));
    else
        writer.add(phase, w, m.scratch()->shares);
    if (writer.n > 0) sm90::publish_runs(m.team, writer.n, writer.n);
}

template <class X>
VIGIL_DEVICE void begin_token(StreamMachine<X>& m, const KernelArgs&, const TokenContext& t) {
    if (m.team.thread() != 0) return;
    std::uint32_t* token = &sm90::control(m.team)->token;
    ring::store_relaxed(token, (*token / 2 + 1) * 2 + (t.wants_logits ? 1 : 0));
}

// What is added to the first rows' products, on its way while the input is waited for.
struct RowsAhead {
    float addend;
};

template <class X, class Addend>
VIGIL_DEVICE RowsAhead start(StreamMachine<X>& m, const BlockRows& b, Addend&& addend) {
    RowsAhead ahead{0.0f};
    bool first = true;
    sm90::for_each_run(b, [&](const Tensor& matrix, int tile, int n_tiles, int rows_before) {
        const int row = (tile + sm90::batch_tile(m.team)) * tiles::kRows + sm90::batch_row(m.team);
        if (first && sm90::batch_tile(m.team) < n_tiles && row < matrix.rows && m.team.lane() % 4 == 0)
            ahead.addend = addend(rows_before + row);
        first = false;
    });
    return ahead;
}
template <class X>
VIGIL_DEVICE RowsAhead start(StreamMachine<X>&, const RowPairs&) {
    return {0.0f};
}

template <class X, class Rows>
VIGIL_DEVICE Input gather(StreamMachine<X>& m, const KernelArgs& a, const Rows& rows, const float* from,
                          const Awaited& awaited) {
    if (rows.rows.begin >= rows.rows.end) return {nullptr, 0, 0.0f};
    sm90::prepare_input(m, sm90::kinds_of(rows), from, nullptr, rows.cols(), awaited);
    m.trace_gathered(a);
    m.team.sync();
    return {m.area(), 0, 0.0f};
}

template <class X, class Rows>
VIGIL_DEVICE Input gather_normed(StreamMachine<X>& m, const KernelArgs& a, const Rows& rows, const float* weight,
                                 const Awaited& awaited) {
    if (rows.rows.begin >= rows.rows.end) return {nullptr, 0, 0.0f};
    float sum = sm90::prepare_input(m, sm90::kinds_of(rows), a.act.residual, weight, a.config.dim, awaited);
    m.trace_gathered(a);
    sum = m.team.lane_sum(sum);
    m.team.stream.next_norm();
    if (m.team.lane() == 0) sm90::warp_squares(m)[m.team.warp()] = sum;
    m.team.sync();
    return {m.area(), a.config.dim, a.config.norm_eps};
}

template <class X, class Addend, class Done>
VIGIL_DEVICE void multiply(StreamMachine<X>& m, const BlockRows& b, const RowsAhead& ahead, const Input& in,
                           Addend&& addend, Done&& done) {
    const std::uint32_t kinds = sm90::kinds_of(b);
    bool first = true;
    sm90::for_each_run(b, [&](const Tensor& matrix, int tile, int n_tiles, int rows_before) {
        sm90::take_run(m, matrix, n_tiles, 0, 0, kinds);
        m.team.sync();
        const int row = (tile + sm90::batch_tile(m.team)) * tiles::kRows + sm90::batch_row(m.team);
        const bool exists = sm90::batch_tile(m.team) < n_tiles && row < matrix.rows;
        const float product =
            sm90::sum_slots(m, sm90::batch_tile(m.team), sm90::batch_row(m.team), matrix.tiles.chunks_per_tile, exists);
        if (exists && m.team.lane() % 4 == 0) {
            const float added = first ? ahead.addend : addend(rows_before + row);
            done(rows_before + row, fused(m.team, product, sm90::norm_scale(m, in), added));
        }
        first = false;
        m.team.stream.next_half();
    });
}

template <class X, class Done>
VIGIL_DEVICE void multiply(StreamMachine<X>& m, const RowPairs& p, const RowsAhead&, const Input& in, Done&& done) {
    constexpr int kSecond = sm90::kBatchTiles / 2;  // its first slot group
    const std::uint32_t kinds = sm90::kinds_of(p);
    sm90::for_each_run(p, [&](int tile, int n_tiles) {
        sm90::take_run(m, p.first, n_tiles, 0, 0, kinds);
        sm90::take_run(m, p.second, n_tiles, kSecond, n_tiles * p.first.tiles.chunks_per_tile, kinds);
        m.team.sync();
        const int within = sm90::batch_tile(m.team);
        const int row = (tile + within) * tiles::kRows + sm90::batch_row(m.team);
        const bool exists = within < n_tiles && row < p.first.rows;
        const float first = sm90::sum_slots(m, within, sm90::batch_row(m.team), p.first.tiles.chunks_per_tile, exists);
        const float second =
            sm90::sum_slots(m, kSecond + within, sm90::batch_row(m.team), p.second.tiles.chunks_per_tile, exists);
        if (exists && m.team.lane() % 4 == 0) {
            const float scale = sm90::norm_scale(m, in);
            done(row, first * scale, second * scale);
        }
        m.team.stream.next_half();
    });
}

// The products of the output matrix for this block's logits: store(row, product).
template <class X, class Store>
VIGIL_DEVICE void multiply_vocab(StreamMachine<X>& m, const KernelArgs& a, const Range&, const Awaited& awaited,
                                 Store&& store) {
    const BlockRows block = sm90::vocab_share(m, a);
    m.team.sync();
    const auto nothing = [](int) { return 0.0f; };
    const auto ahead = start(m, block, nothing);
    const auto in = gather_normed(m, a, block, a.weights.output_norm, awaited);
    multiply(m, block, ahead, in, nothing, store);
}

}  // namespace vigil::device
