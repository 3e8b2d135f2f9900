// The Hopper path's part of the phases' vocabulary, found by overload on the Team: the input prepared for matrix
// instructions, products from the weight stream. The phases themselves are the same.
//
// What a block multiplies is in its list of runs, made once per launch: the producer streams them in this order, and
// the phases take them one by one in the same order. Shares are counted in tiles of 16 rows. A block whose share is
// empty does not even wait for the input.
#pragma once

#include "device/layer.cuh"
#include "device/sm90/products.cuh"
#include "device/sm90/stream.cuh"

namespace vigil::device {

template <std::uint32_t Kinds, class Exchange>
using StreamMachine = Machine<sm90::TeamFor<Kinds>, Exchange>;

namespace sm90 {

// ---- the list of runs ---------------------------------------------------------------------------------------

// Writes runs one after the other.
struct RunWriter {
    Run* to;
    int n = 0;
    int phase_begin = 0;
    std::uint32_t kinds = 0;  // of the phase

    // At most kBatchTiles tiles. The rows before the matrix that the phase counts too are `rows_before`.
    VIGIL_DEVICE void add(const Tensor& w, int tile, int n_tiles, int rows_before, int first_group) {
        const TileShape& shape = w.tiles;
        Run run;
        run.from = static_cast<const char*>(w.data) + static_cast<std::size_t>(tile) * tiles::tile_bytes(shape);
        run.chunk_bytes = static_cast<std::uint32_t>(shape.chunk_bytes);
        run.n_chunks = static_cast<std::uint16_t>(n_tiles * shape.chunks_per_tile);
        run.stage_log2 = static_cast<std::uint8_t>(shape.stage_log2);
        run.format = static_cast<std::uint8_t>(tiles::format_index(w.format));
        run.first_row = rows_before + tile * tiles::kRows;
        run.n_rows = static_cast<std::uint16_t>(min(n_tiles * tiles::kRows, w.rows - tile * tiles::kRows));
        run.chunks_per_tile = static_cast<std::uint16_t>(shape.chunks_per_tile);
        run.reciprocal = static_cast<std::uint16_t>((255 + shape.chunks_per_tile) / shape.chunks_per_tile);
        run.step_tiles = static_cast<std::uint8_t>(tiles::kWarps / shape.chunks_per_tile);
        run.step_chunks = static_cast<std::uint8_t>(tiles::kWarps % shape.chunks_per_tile);
        run.slabs = static_cast<std::uint8_t>(shape.chunk_cols / tiles::kSlabCols);
        run.first_group = static_cast<std::uint8_t>(first_group);
        run.kinds = static_cast<std::uint8_t>(kinds);
        run.last_of_phase = 0;
        to[n++] = run;
    }
    VIGIL_DEVICE void begin_phase(std::uint32_t phase_kinds) {
        phase_begin = n;
        kinds = phase_kinds;
    }
    VIGIL_DEVICE void end_phase() {
        if (n == phase_begin) to[n++] = {};
        to[n - 1].last_of_phase = 1;
    }

    // A share of one matrix, or of the rows of several taken as one.
    VIGIL_DEVICE void add_rows(const Range& share, const Tensor* first, const Tensor* second, const Tensor* third) {
        std::uint32_t all = 0;
        VIGIL_UNROLL_BY(1)
        for (int i = 0; i < 3; ++i) {
            const Tensor* w = i == 0 ? first : i == 1 ? second : third;
            if (w != nullptr) all |= tiles::input_kind(w->format);
        }
        begin_phase(all);
        int tiles_before = 0;
        int rows_before = 0;
        VIGIL_UNROLL_BY(1)
        for (int i = 0; i < 3; ++i) {
            const Tensor* w = i == 0 ? first : i == 1 ? second : third;
            if (w == nullptr) break;
            const int n_tiles = tiles::row_tiles(w->rows);
            const int end = min(share.end - tiles_before, n_tiles);
            for (int tile = max(share.begin - tiles_before, 0); tile < end; tile += kBatchTiles)
                add(*w, tile, min(kBatchTiles, end - tile), rows_before, 0);
            tiles_before += n_tiles;
            rows_before += w->rows;
        }
        end_phase();
    }
    // The same rows of two matrices, in pairs of runs.
    VIGIL_DEVICE void add_pairs(const Range& share, const Tensor& first, const Tensor& second) {
        constexpr int kPairs = kBatchTiles / 2;
        begin_phase(tiles::input_kind(first.format) | tiles::input_kind(second.format));
        for (int tile = share.begin; tile < share.end; tile += kPairs) {
            const int n_tiles = min(kPairs, share.end - tile);
            add(first, tile, n_tiles, 0, 0);
            add(second, tile, n_tiles, 0, kPairs);
        }
        end_phase();
    }
};

// A phase's share for this block. From layer to layer it moves on by one block, so that over the layers all blocks get
// the same number of tiles but one.
template <class M>
VIGIL_DEVICE Range rotated_share(const M& m, int n_tiles, int layer) {
    return share(n_tiles, (m.team.block() + layer) % m.team.n_blocks(), m.team.n_blocks());
}

template <class M>
VIGIL_DEVICE void add_phase(const M& m, const ModelConfig& c, RunWriter& writer, ring::Phase phase, int layer,
                            const LayerWeights& w) {
    if (phase == ring::Phase::kQkv) {
        const int n = tiles::row_tiles(head_rows(c)) + 2 * tiles::row_tiles(kv_rows(c));
        writer.add_rows(rotated_share(m, n, layer), &w.wq, &w.wk, &w.wv);
    } else if (phase == ring::Phase::kGateUp) {
        writer.add_pairs(rotated_share(m, tiles::row_tiles(c.ffn_dim), layer), w.w_gate, w.w_up);
    } else if (phase == ring::Phase::kOutputProj || phase == ring::Phase::kDown) {
        const Tensor& matrix = phase == ring::Phase::kDown ? w.w_down : w.wo;
        writer.add_rows(rotated_share(m, tiles::row_tiles(c.dim), layer), &matrix, nullptr, nullptr);
    }
}

// The block's share of the output matrix, whose order of addition goes by tiles of kTileRows logits.
template <class M>
VIGIL_DEVICE void add_logits(const M& m, const KernelArgs& a, RunWriter& writer) {
    static_assert(kTileRows % tiles::kRows == 0, "whole tiles");
    const Range rows = logit_rows(a.config, m.team.block(), m.team.n_blocks());
    m.scratch()->output[0] = a.weights.output;  // a pointer to the argument would make the compiler copy all of it
    writer.add_rows({rows.begin / tiles::kRows, tiles::row_tiles(rows.end)}, &m.scratch()->output[0], nullptr, nullptr);
}

VIGIL_DEVICE void publish_runs(const Team& team, int first_logits, int n) {
    StreamControl* c = control(team);
    c->first_logits = static_cast<std::uint32_t>(first_logits);
    store_release_shared(&c->n_runs, static_cast<std::uint32_t>(n));  // pairs with Producer::run
}

// ---- products -----------------------------------------------------------------------------------------------

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

// multiply(chunk, first slab of it, sum) for this warp's chunks; leaves one sum per row and slot. `ordinal` chunks of
// another run came before since the block's last barrier.
template <class Multiply>
VIGIL_DEVICE void multiply_chunks(StreamControl* c, StreamCursor cursor, const Run& r, int ordinal, int lane,
                                  Multiply&& multiply) {
    const uint4 words = load_shared16(shared_address(c));
    const Shared stages = words.x;
    const Shared partials = words.y + static_cast<Shared>(cursor.half() * kPartialBytes);
    const int n_stages = static_cast<int>(words.z);
    const int stage_bytes = static_cast<int>(words.w);
    int i = (thread_index() / 32 - ordinal) & (tiles::kWarps - 1);
    int tile = (i * r.reciprocal) >> 8;
    int k = i - tile * r.chunks_per_tile;
    tile += r.first_group;
    const int within = i & ((1 << r.stage_log2) - 1);
    int stage = cursor.stage() + (i >> r.stage_log2);
    std::uint32_t parity = cursor.parity();
    const auto wrap = [&] {
        if (stage < n_stages) return;
        stage -= n_stages;
        parity ^= 1;
    };
    wrap();
    float2 sum = {0.0f, 0.0f};
    VIGIL_UNROLL_BY(1)
    for (; i < r.n_chunks; i += tiles::kWarps) {
        const Shared full = full_barrier(c, stage);
        std::uint64_t give_up = 0;
        for (std::uint32_t spins = 0; !barrier_passed(full, parity); ++spins)
            if (!keeps_waiting_for_stage(c, spins, give_up, stage)) break;
        __syncwarp();  // the matrix instructions want the warp converged
        multiply(stages + static_cast<Shared>(stage * stage_bytes) + static_cast<Shared>(within) * r.chunk_bytes,
                 k * r.slabs, sum);
        __syncwarp();
        if (lane == 0) {
            const int there = min(1 << r.stage_log2, r.n_chunks - i);
            barrier_arrive(empty_barrier(c, stage),
                           within == 0 ? static_cast<std::uint32_t>(kArrivals + 1 - there) : 1u);
        }
        if (k + tiles::kWarps >= r.chunks_per_tile) {  // the warp's last one of the tile
            const bool lower = (lane & 1) != 0;
            float row_sum = lower ? sum.y : sum.x;
            row_sum += __shfl_xor_sync(~0u, lower ? sum.x : sum.y, 1);
            row_sum += __shfl_xor_sync(~0u, row_sum, 2);
            const int slot = tile * kSlots + (k & (kSlots - 1));
            if ((lane & 2) == 0)
                store_shared_float(
                    partials + static_cast<Shared>((slot * kSlotFloats + (lane >> 2) + (lower ? 8 : 0)) * 4), row_sum);
            sum = {0.0f, 0.0f};
        }
        tile += r.step_tiles;
        k += r.step_chunks;
        if (k >= r.chunks_per_tile) {
            k -= r.chunks_per_tile;
            ++tile;
        }
        stage += tiles::kWarps >> r.stage_log2;
        wrap();
    }
}

// One copy for all phases: it holds a loop per format and width. Multiplies the run that the cursor is at.
template <std::uint32_t Kinds>
VIGIL_DEVICE_CALLED void multiply_run(StreamControl* c, StreamCursor cursor, int ordinal, Shared input) {
    const int lane = thread_index() % 32;
    const Run r = load_run(c, cursor.run());
    const InputView in(input, tiles::InputLayout(r.kinds, r.chunks_per_tile * r.slabs * tiles::kSlabCols), lane);
    const auto by_chunk = [&](auto&& multiply) {
        multiply_chunks(c, cursor, r, ordinal, lane,
                        [&](Shared chunk, int first_slab, float2& sum) { multiply(chunk, in, first_slab, sum); });
    };
    // Blocks of 32: one, two or four slabs.
    const auto by_slabs = [&](auto blocks) {
        using Blocks = decltype(blocks);
        const auto of = [&](auto n) {
            by_chunk([](Shared chunk, const InputView& view, int first_slab, float2& sum) {
                VIGIL_UNROLL
                for (int s = 0; s < decltype(n)::kValue; ++s)
                    Blocks::multiply(chunk + static_cast<Shared>(s * Blocks::kSlabBytes), view, first_slab + s, sum);
            });
        };
        if (r.slabs == 4) return of(Count<4>{});
        if (r.slabs == 2) return of(Count<2>{});
        of(Count<1>{});
    };
    const auto halves = [&](auto bfloat) {
        constexpr bool kBfloat = decltype(bfloat)::kValue != 0;
        if (r.slabs == 2) return by_chunk(multiply_halves<kBfloat, 2>);
        by_chunk(multiply_halves<kBfloat, 1>);
    };
    if constexpr ((Kinds & tiles::kHalfParts) != 0)
        if (r.format == tiles::format_index(TensorFormat::kF16)) return halves(Count<0>{});
    if constexpr ((Kinds & tiles::kBfloatParts) != 0)
        if (r.format == tiles::format_index(TensorFormat::kBF16)) return halves(Count<1>{});
    if constexpr ((Kinds & tiles::kFloats) != 0)
        if (r.format == tiles::format_index(TensorFormat::kF32)) return by_chunk(multiply_floats);
    if constexpr ((Kinds & tiles::kInt8Digits) != 0) {
        switch (r.format) {
            case tiles::format_index(TensorFormat::kQ8_0):
                return by_slabs(Blocks32<8, Offset::kNone>{});
            case tiles::format_index(TensorFormat::kQ4_0):
                return by_slabs(Blocks32<4, Offset::kCentred>{});
            case tiles::format_index(TensorFormat::kQ4_1):
                return by_slabs(Blocks32<4, Offset::kStored>{});
            case tiles::format_index(TensorFormat::kQ5_0):
                return by_slabs(Blocks32<5, Offset::kCentred>{});
            case tiles::format_index(TensorFormat::kQ5_1):
                return by_slabs(Blocks32<5, Offset::kStored>{});
            case tiles::format_index(TensorFormat::kQ4_K):
                return by_chunk(Blocks256<4>::multiply);
            case tiles::format_index(TensorFormat::kQ5_K):
                return by_chunk(Blocks256<5>::multiply);
            case tiles::format_index(TensorFormat::kQ6_K):
                return by_chunk(BlocksQ6K::multiply);
            default:
                __trap();  // no tiles of it are ever made
        }
    }
}

// The run that the block is at.
template <class M>
VIGIL_DEVICE Run current_run(const M& m) {
    return load_run(control(m.team), m.team.stream.run());
}

// Multiplies it and moves the block's cursor behind it.
template <class M>
VIGIL_DEVICE void take_run(M& m, const Run& r, int ordinal) {
    StreamControl* c = control(m.team);
    StreamCursor& cursor = m.team.stream;
    multiply_run<M::Team::kKinds>(c, cursor, ordinal, shared_address(m.area()));
    int stage = cursor.stage() + ((r.n_chunks + (1 << r.stage_log2) - 1) >> r.stage_log2);
    std::uint32_t parity = cursor.parity();
    for (; stage >= c->n_stages; stage -= c->n_stages) parity ^= 1;
    cursor.move_to(stage, parity);
    cursor.next_run();
}

// The thread's place among the rows of a run: four threads to a row.
VIGIL_DEVICE int row_of_run(const Team& team) {
    return team.thread() / 4;
}

// Four lanes add up a row's slots in a fixed order; all four get the sum.
template <class M>
VIGIL_DEVICE float sum_slots(const M& m, const Run& r, bool exists) {
    const int thread = m.team.thread();
    const int row = thread / 4;
    const Shared from =
        control(m.team)->partials +
        static_cast<Shared>(
            m.team.stream.half() * kPartialBytes +
            (((r.first_group + row / tiles::kRows) * kSlots + thread % 4) * kSlotFloats + row % tiles::kRows) * 4);
    const int n_slots = exists ? r.chunks_per_tile : 0;
    float sum = 0.0f;
    VIGIL_UNROLL
    for (int i = 0; i < kSlots; i += 4)
        if (i + thread % 4 < n_slots) sum += load_shared_float(from + static_cast<Shared>(i * kSlotFloats * 4));
    return m.team.lane_sum(sum, 4);
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
            store_input<M::Team::kKinds>(to, layout, kinds, i, lane, inside, v);
        }
    }
    return squares;
}

}  // namespace sm90

// ---- overloads ----------------------------------------------------------------------------------------------

template <std::uint32_t K, class X>
VIGIL_DEVICE void prepare_shares(const StreamMachine<K, X>& m, const KernelArgs& a) {
    if (m.team.thread() == 0) m.scratch()->shares.heads = share(head_rows(a.config), m.team.block(), m.team.n_blocks());
}

// The block's runs of all layers and of the logits, each thread a layer's. All layers have as many places in the list;
// those that are left over have no chunks.
template <std::uint32_t K, class X>
VIGIL_DEVICE void open_stream(StreamMachine<K, X>& m, const KernelArgs& a) {
    auto* runs = sm90::run_list(m.team, a.plan);
    const int n_layers = a.config.n_layers;
    const int per_layer = a.plan.stream.runs_per_layer;
    for (int layer = m.team.thread(); layer < n_layers; layer += m.team.n_threads()) {
        sm90::RunWriter writer{runs + layer * per_layer};
        VIGIL_UNROLL_BY(1)
        for (const ring::Phase phase :
             {ring::Phase::kQkv, ring::Phase::kOutputProj, ring::Phase::kGateUp, ring::Phase::kDown})
            sm90::add_phase(m, a.config, writer, phase, layer, a.weights.layers[layer]);
        while (writer.n < per_layer) writer.to[writer.n++] = {};
    }
    m.team.sync();
    if (m.team.thread() != 0) return;
    const int n = n_layers * per_layer;
    sm90::RunWriter writer{runs + n};
    sm90::add_logits(m, a, writer);
    sm90::publish_runs(m.team, n, n + writer.n);
}

// The runs of one step, for launch and graph dispatch. The block's threads must all call.
template <std::uint32_t K, class X>
VIGIL_DEVICE void open_stream(StreamMachine<K, X>& m, const KernelArgs& a, ring::Phase phase, int layer,
                              const LayerWeights& w) {
    if (m.team.thread() == 0) {
        sm90::RunWriter writer{sm90::run_list(m.team, a.plan)};
        if (phase == ring::Phase::kLogits)
            sm90::add_logits(m, a, writer);
        else
            sm90::add_phase(m, a.config, writer, phase, layer, w);
        if (writer.n > 0) sm90::publish_runs(m.team, writer.n, writer.n);
    }
    m.team.sync();
}

template <std::uint32_t K, class X>
VIGIL_DEVICE void begin_token(StreamMachine<K, X>& m, const KernelArgs&, const TokenContext& t) {
    if (m.team.thread() != 0) return;
    std::uint32_t* token = &sm90::control(m.team)->token;
    ring::store_relaxed(token, (*token / 2 + 1) * 2 + (t.wants_logits ? 1 : 0));
}
template <std::uint32_t K, class X>
VIGIL_DEVICE void begin_layer(StreamMachine<K, X>& m, const KernelArgs& a, int layer) {
    m.team.stream.begin_at(layer * a.plan.stream.runs_per_layer);
}

// What is added to the first run's products, on its way while the input is waited for.
struct RowsAhead {
    float addend;
};

namespace sm90 {

template <class M, class Addend>
VIGIL_DEVICE RowsAhead start_run(M& m, Addend&& addend) {
    const Run r = current_run(m);
    const int row = row_of_run(m.team);
    RowsAhead ahead{0.0f};
    if (row < r.n_rows && m.team.lane() % 4 == 0) ahead.addend = addend(r.first_row + row);
    return ahead;
}

template <class M>
VIGIL_DEVICE Input gather_run(M& m, const KernelArgs& a, const float* from, const float* weight, bool normed,
                              const Awaited& awaited) {
    const Run r = current_run(m);
    if (r.n_chunks == 0) return {nullptr, 0, 0.0f};
    const int cols = r.chunks_per_tile * r.slabs * tiles::kSlabCols;
    const float squares = prepare_input(m, r.kinds, from, weight, cols, awaited);
    m.trace_gathered(a);
    if (normed) {
        const float sum = m.team.lane_sum(squares);
        m.team.stream.next_norm();
        if (m.team.lane() == 0) warp_squares(m)[m.team.warp()] = sum;
    }
    m.team.sync();
    return {m.area(), normed ? cols : 0, a.config.norm_eps};
}

// The rest of a phase's runs.
template <class M, class Addend, class Done>
VIGIL_DEVICE void multiply_runs(M& m, const RowsAhead& ahead, const Input& in, Addend&& addend, Done&& done) {
    bool first = true;
    VIGIL_UNROLL_BY(1)
    for (bool last = false; !last; first = false) {
        const Run r = current_run(m);
        last = r.last_of_phase != 0;
        if (r.n_chunks == 0) {
            m.team.stream.next_run();
            break;
        }
        take_run(m, r, 0);
        m.team.sync();
        const int row = row_of_run(m.team);
        const bool exists = row < r.n_rows;
        const float product = sum_slots(m, r, exists);
        if (exists && m.team.lane() % 4 == 0) {
            const float added = first ? ahead.addend : addend(r.first_row + row);
            done(r.first_row + row, fused(m.team, product, norm_scale(m, in), added));
        }
        m.team.stream.next_half();
    }
}

}  // namespace sm90

template <std::uint32_t K, class X, class Addend>
VIGIL_DEVICE RowsAhead start(StreamMachine<K, X>& m, const BlockRows&, Addend&& addend) {
    return sm90::start_run(m, addend);
}
template <std::uint32_t K, class X>
VIGIL_DEVICE RowsAhead start(StreamMachine<K, X>&, const RowPairs&) {
    return {0.0f};
}

template <std::uint32_t K, class X, class Rows>
VIGIL_DEVICE Input gather(StreamMachine<K, X>& m, const KernelArgs& a, const Rows&, const float* from,
                          const Awaited& awaited) {
    return sm90::gather_run(m, a, from, nullptr, false, awaited);
}
template <std::uint32_t K, class X, class Rows>
VIGIL_DEVICE Input gather_normed(StreamMachine<K, X>& m, const KernelArgs& a, const Rows&, const float* weight,
                                 const Awaited& awaited) {
    return sm90::gather_run(m, a, a.act.residual, weight, true, awaited);
}

template <std::uint32_t K, class X, class Addend, class Done>
VIGIL_DEVICE void multiply(StreamMachine<K, X>& m, const BlockRows&, const RowsAhead& ahead, const Input& in,
                           Addend&& addend, Done&& done) {
    sm90::multiply_runs(m, ahead, in, addend, done);
}

template <std::uint32_t K, class X, class Done>
VIGIL_DEVICE void multiply(StreamMachine<K, X>& m, const RowPairs&, const RowsAhead&, const Input& in, Done&& done) {
    VIGIL_UNROLL_BY(1)
    for (bool last = false; !last;) {
        const sm90::Run first = sm90::current_run(m);
        if (first.n_chunks == 0) {
            m.team.stream.next_run();
            break;
        }
        sm90::take_run(m, first, 0);
        const sm90::Run second = sm90::current_run(m);
        last = second.last_of_phase != 0;
        sm90::take_run(m, second, first.n_chunks);
        m.team.sync();
        const int row = sm90::row_of_run(m.team);
        const bool exists = row < first.n_rows;
        const float gate = sm90::sum_slots(m, first, exists);
        const float up = sm90::sum_slots(m, second, exists);
        if (exists && m.team.lane() % 4 == 0) {
            const float scale = sm90::norm_scale(m, in);
            done(first.first_row + row, gate * scale, up * scale);
        }
        m.team.stream.next_half();
    }
}

// The products of the output matrix for this block's logits: store(row, product).
template <std::uint32_t K, class X, class Store>
VIGIL_DEVICE void multiply_vocab(StreamMachine<K, X>& m, const KernelArgs& a, const Range&, const Awaited& awaited,
                                 Store&& store) {
    if (X::kWaits) m.team.stream.begin_at(a.config.n_layers * a.plan.stream.runs_per_layer);
    const auto nothing = [](int) { return 0.0f; };
    const Input in = sm90::gather_run(m, a, a.act.residual, a.weights.output_norm, true, awaited);
    sm90::multiply_runs(m, RowsAhead{0.0f}, in, nothing, store);
}

}  // namespace vigil::device
