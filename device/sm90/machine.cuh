// What the Hopper path's phases are made of: the list of a block's runs, a warp's way through a run, the input prepared
// for matrix instructions. layer.cuh makes phases of them.
//
// What a block multiplies is in its list of runs, made once per launch, before its threads part: the producer streams
// them in this order, and the phases take them one by one in the same order. Shares are counted in tiles of 16 rows. A
// block whose share is empty does not even wait for the input.
#pragma once

#include <type_traits>

#include "device/layer.cuh"
#include "device/sm90/norm.cuh"
#include "device/sm90/products.cuh"
#include "device/sm90/replicas.cuh"
#include "device/sm90/stream.cuh"

namespace vigil::device {

template <std::uint32_t Kernel, class Exchange>
using StreamMachine = Machine<sm90::TeamFor<Kernel>, Exchange>;

namespace sm90 {

// ---- the list of runs ---------------------------------------------------------------------------------------

// Writes runs one after the other.
struct RunWriter {
    Run* to;
    int bytes_in_flight;
    int max_copies_in_flight;
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
        run.copies = min(tiles::copies_in_flight(shape, bytes_in_flight), max_copies_in_flight) & kMaxCopiesInFlight;
        run.last_of_phase = 0;
        run.joined = 0;
        to[n++] = run;
    }
    VIGIL_DEVICE void begin_phase(std::uint32_t phase_kinds) {
        phase_begin = n;
        kinds = phase_kinds;
    }
    VIGIL_DEVICE void end_phase() {
        if (n == phase_begin) to[n++] = {};
        to[n - 1].last_of_phase = 1;
        if (n - 2 >= phase_begin && to[n - 2].joined != 0) to[n - 2].last_of_phase = 1;  // they are one
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
            Run& before = to[n - 1];
            // With whole stages and the same shape the second's chunks go on where the first's end.
            const bool joined =
                first.format == second.format && (before.n_chunks & ((1 << before.stage_log2) - 1)) == 0;
            before.joined = joined ? 1 : 0;
            add(second, tile, n_tiles, 0, joined ? n_tiles : kPairs);
        }
        end_phase();
    }
};

// A phase's share for this block. From layer to layer it moves on by one block, so that over the layers all blocks get
// the same number of tiles but one.
VIGIL_DEVICE Range rotated_share(const Team& team, int n_tiles, int layer) {
    return share(n_tiles, (team.block() + layer) % team.n_blocks(), team.n_blocks());
}

// Nothing for a phase without a product.
VIGIL_DEVICE void add_phase(const Team& team, const ModelConfig& c, RunWriter& writer, ring::Phase phase, int layer,
                            const LayerWeights& w) {
    if (phase == ring::Phase::kQkv) {
        const int n = tiles::row_tiles(head_rows(c)) + 2 * tiles::row_tiles(kv_rows(c));
        writer.add_rows(rotated_share(team, n, layer), &w.wq, &w.wk, &w.wv);
    } else if (phase == ring::Phase::kGateUp) {
        writer.add_pairs(rotated_share(team, tiles::row_tiles(c.ffn_dim), layer), w.w_gate, w.w_up);
    } else if (phase == ring::Phase::kOutputProj || phase == ring::Phase::kDown) {
        const Tensor& matrix = phase == ring::Phase::kDown ? w.w_down : w.wo;
        writer.add_rows(rotated_share(team, tiles::row_tiles(c.dim), layer), &matrix, nullptr, nullptr);
    }
}

// The block's share of the output matrix, whose order of addition goes by tiles of kTileRows logits.
VIGIL_DEVICE void add_logits(const Team& team, const KernelArgs& a, RunWriter& writer) {
    static_assert(kTileRows % tiles::kRows == 0, "whole tiles");
    const Range rows = logit_rows(a.config, team.block(), team.n_blocks());
    Tensor* output = team.scratch()->output;
    output[0] = a.weights.output;  // a pointer to the argument would make the compiler copy all of it
    writer.add_rows({rows.begin / tiles::kRows, tiles::row_tiles(rows.end)}, output, nullptr, nullptr);
}

// One thread.
VIGIL_DEVICE void describe_phases(const Team& team, const KernelArgs& a) {
    StreamControl* c = control(team);
    c->output_norm = a.weights.output_norm;
    c->no_norm = nullptr;
    const LayerWeights* layers = team.scratch()->layers;
    const auto describe = [&](ring::Phase phase, const float* from, int cols, const float* const* norm, int stride,
                              float* to) {
        PhaseShape& shape = c->phases[static_cast<int>(phase) - static_cast<int>(ring::Phase::kQkv)];
        shape.input.from = from;
        shape.input.cols = cols;
        shape.input.norm_at = static_cast<std::uint16_t>(shared_address(norm) - shared_address(c));
        shape.input.norm_stride = static_cast<std::uint16_t>(stride);
        shape.result.to = to;
        shape.result.normed = norm != &c->no_norm ? 1 : 0;
    };
    constexpr int kLayer = sizeof(LayerWeights);
    const int heads = head_rows(a.config);
    describe(ring::Phase::kQkv, a.act.residual, a.config.dim, &layers->attn_norm, kLayer, a.act.qkv);
    describe(ring::Phase::kOutputProj, a.act.heads, heads, &c->no_norm, 0, a.act.residual);
    describe(ring::Phase::kGateUp, a.act.residual, a.config.dim, &layers->ffn_norm, kLayer, a.act.hidden);
    describe(ring::Phase::kDown, a.act.hidden, a.config.ffn_dim, &c->no_norm, 0, a.act.residual);
    describe(ring::Phase::kLogits, a.act.residual, a.config.dim, &c->output_norm, 0, a.act.logits);
}

VIGIL_DEVICE void set_length(const Team& team, int first_logits, int n) {
    StreamControl* c = control(team);
    c->first_logits = static_cast<std::uint32_t>(first_logits);
    c->n_runs = static_cast<std::uint32_t>(n);
}

// The block's runs of all layers and of the logits, each thread a layer's. All layers have as many places in the list;
// those that are left over have no chunks.
struct RunsOfAllLayers {
    const KernelArgs& args;

    VIGIL_DEVICE void list(const Team& team) const {
        Run* runs = run_list(team, args.plan);
        const int n_layers = args.config.n_layers;
        const StreamPlan& plan = args.plan.stream;
        const int per_layer = plan.runs_per_layer;
        for (int layer = team.thread(); layer < n_layers; layer += kThreads) {
            RunWriter writer{runs + layer * per_layer, plan.bytes_in_flight, plan.max_copies_in_flight};
            VIGIL_UNROLL_BY(1)
            for (int p = static_cast<int>(ring::Phase::kQkv); p <= static_cast<int>(ring::Phase::kDown); ++p)
                add_phase(team, args.config, writer, static_cast<ring::Phase>(p), layer, args.weights.layers[layer]);
            while (writer.n < per_layer) writer.to[writer.n++] = {};
        }
        if (team.thread() != 0) return;
        describe_phases(team, args);
        const int n = n_layers * per_layer;
        RunWriter writer{runs + n, plan.logits_bytes_in_flight, plan.max_copies_in_flight};
        add_logits(team, args, writer);
        set_length(team, n, n + writer.n);
    }
};
// Inlined it costs a kernel registers; in the one for all kinds, which has none to spare, the call costs more.
template <std::uint32_t Kernel>
struct AllRuns : RunsOfAllLayers {
    VIGIL_DEVICE_COLD void operator()(const Team& team) const { list(team); }
};
template <>
struct AllRuns<kAllKinds> : RunsOfAllLayers {
    VIGIL_DEVICE void operator()(const Team& team) const { list(team); }
};

// Those of one step, for launch and graph dispatch; none if no job is active.
struct RunsOfStep {
    const KernelArgs& args;
    ring::Phase phase;
    int layer;

    VIGIL_DEVICE void operator()(const Team& team) const {
        const bool of_output = phase == ring::Phase::kLogits;
        const bool of_layer = phase >= ring::Phase::kQkv && phase <= ring::Phase::kDown;
        if (!(of_output || of_layer) || team.thread() != 0 || !read_context(args).active) return;
        describe_phases(team, args);
        const StreamPlan& plan = args.plan.stream;
        RunWriter writer{run_list(team, args.plan), of_output ? plan.logits_bytes_in_flight : plan.bytes_in_flight,
                         plan.max_copies_in_flight};
        if (of_output)
            add_logits(team, args, writer);
        else
            add_phase(team, args.config, writer, phase, layer, args.weights.layers[layer]);
        set_length(team, writer.n, writer.n);
    }
};

// ---- products -----------------------------------------------------------------------------------------------

// To be asked after each look at a stage in vain: false when the deadline is over or the block has given up. If the
// weights are there it is the input that is late, and those who look for it have a deadline of their own. It calls
// nothing, since whoever waits holds many registers. Under launch dispatch there is nobody to report to, and copies
// that never end are the driver's.
VIGIL_DEVICE bool keeps_waiting_for_stage(StreamControl* c, std::uint32_t spins, std::uint64_t& give_up, int stage,
                                          bool weights_there) {
    if (!looks_at_clock(spins)) return true;
    auto* scratch = reinterpret_cast<BlockScratch*>(c + 1);
    const Patience& p = scratch->patience;
    if (p.sync == nullptr) return true;
    if (ring::load_relaxed(&scratch->failed) != 0) return false;
    if (weights_there) return true;
    const std::uint64_t now = CudaTeam::clock_ns();
    if (give_up == 0) give_up = now + p.deadline_ns;
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

// Where the sums of a row of the first tile are, slot 0; other slots are at this XOR four times their number. Four
// slots of eight rows, which as many lanes read at once, lie in all banks.
VIGIL_DEVICE Shared slots_of_row(Shared partials, int row) {
    return partials + static_cast<Shared>(row * kSlots * 4 + (row / 2 & (kSlots / 4 - 1)) * 16);
}

// That take so many columns; whole rounds of the warps.
VIGIL_DEVICE int chunks_of(const Run& r, int cols) {
    return cols / tiles::kSlabCols >> (r.slabs >> 1);
}

// What a warp does of a run: which chunks, and where they come from and their sums go.
struct ChunkWalk {
    Shared stages, partials;
    Shared slots;  // of the row whose sums the lane leaves
    int n_stages, stage_bytes;
    int i;        // of the run's chunks, …
    int n;        // … of so many
    int tile, k;  // whose chunk i is: of the partial sums' groups, and in its tile
    int within;   // its stage: the same for all of a warp's chunks
    int stage;
    std::uint32_t parity;

    // `ordinal` chunks of another run came before since the block's last barrier.
    VIGIL_DEVICE ChunkWalk(const StreamControl* c, StreamCursor cursor, const Run& r, int ordinal) {
        const uint4 words = load_shared16(shared_address(c));
        stages = words.x;
        partials = words.y + static_cast<Shared>(cursor.half() * kPartialBytes);
        const int lane = thread_index() & 31;
        slots = slots_of_row(partials, row_of(lane) + (lane & 1) * 8);
        n_stages = static_cast<int>(words.z);
        stage_bytes = static_cast<int>(words.w);
        n = r.n_chunks << r.joined;
        i = ((thread_index() >> 5) - ordinal) & (tiles::kWarps - 1);
        tile = (i * r.reciprocal) >> 8;
        k = i - tile * r.chunks_per_tile;
        tile += r.first_group;
        within = i & ((1 << r.stage_log2) - 1);
        stage = cursor.stage() + (i >> r.stage_log2);
        parity = cursor.parity();
        wrap();
    }
    VIGIL_DEVICE void wrap() { parity ^= wrap_at(stage, n_stages) ? 1 : 0; }
    // Takes an index that may be past the end, by less than there are, to its place; whether it was.
    static VIGIL_DEVICE bool wrap_at(int& index, int n) {
        const int rest = index - n;
        index = static_cast<int>(min(static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(rest)));
        return rest >= 0;
    }
    // To the first chunk of those that take columns from `begin` on, of the first tile.
    VIGIL_DEVICE void skip(const Run& r, int begin) {
        const int n_chunks = chunks_of(r, begin);
        i += n_chunks;
        tile = r.first_group;
        k = i;
        if (k >= r.chunks_per_tile) {  // once at most, since a round has more chunks than there are warps
            k -= r.chunks_per_tile;
            ++tile;
        }
        for (stage += n_chunks >> r.stage_log2; stage >= n_stages; stage -= n_stages) parity ^= 1;
    }
    VIGIL_DEVICE void advance(const Run& r) {
        i += tiles::kWarps;
        k += r.step_chunks;
        tile += r.step_tiles + (wrap_at(k, r.chunks_per_tile) ? 1 : 0);
        stage += tiles::kWarps >> r.stage_log2;
        wrap();
    }
};

// multiply(chunk, first slab of it, sum) for this warp's chunks, each once its weights are there and the part of the
// input that it is multiplied by; leaves one sum per row and slot.
template <class Multiply>
VIGIL_DEVICE void multiply_chunks(StreamControl* c, ChunkWalk& walk, const Run& r, const InputView& in, int end,
                                  float2& sum, Multiply&& multiply) {
    const int lane = in.lane;
    VIGIL_UNROLL_BY(1)
    for (; walk.i < end; walk.advance(r)) {
        // What is done behind the product is worked out before the wait.
        const int there = min(1 << r.stage_log2, walk.n - walk.i);
        const std::uint32_t arrivals = anew(walk.within == 0 ? static_cast<std::uint32_t>(kArrivals + 1 - there) : 1u);
        const Shared slot = anew((walk.slots + static_cast<Shared>(walk.tile * kTileSumBytes)) ^
                                 static_cast<Shared>((walk.k & (kSlots - 1)) * 4));
        const Shared full = full_barrier(c, walk.stage);
        const Shared ready = ready_barrier(c, static_cast<std::uint32_t>(walk.k * r.slabs) / kReadySlabs);
        std::uint64_t give_up = 0;
        // Both are asked at once, since each answer takes its time.
        for (std::uint32_t spins = 0;; ++spins) {
            const bool weights_there = barrier_passed(full, walk.parity);
            if (barrier_passed(ready, in.parity) & weights_there) break;
            if (!keeps_waiting_for_stage(c, spins, give_up, walk.stage, weights_there)) break;
        }
        __syncwarp();  // the matrix instructions want the warp converged
        multiply(walk.stages + static_cast<Shared>(walk.stage * walk.stage_bytes) +
                     static_cast<Shared>(walk.within) * r.chunk_bytes,
                 walk.k * r.slabs, sum);
        __syncwarp();
        if (lane < kArrivingLanes) barrier_arrive(empty_barrier(c, walk.stage), arrivals);
        if (walk.k + tiles::kWarps >= r.chunks_per_tile) {  // the warp's last one of the tile
            const bool lower = (lane & 1) != 0;
            float row_sum = lower ? sum.y : sum.x;
            row_sum += __shfl_xor_sync(~0u, lower ? sum.x : sum.y, 1);
            row_sum += __shfl_xor_sync(~0u, row_sum, 2);
            if ((lane & 2) == 0) store_shared_float(slot, row_sum);
            sum = {0.0f, 0.0f};
        }
    }
}

// The loop for the run's format and width. There should be one copy of it in a kernel.
template <std::uint32_t Kinds>
VIGIL_DEVICE void multiply_chunks_of(StreamControl* c, ChunkWalk& walk, const Run& r, const InputView& in, int end,
                                     float2& sum) {
    const auto by_chunk = [&](auto&& multiply) {
        multiply_chunks(c, walk, r, in, end, sum,
                        [&](Shared chunk, int first_slab, float2& to) { multiply(chunk, in, first_slab, to); });
    };
    // Blocks of 32: one, two or four slabs.
    const auto by_slabs = [&](auto blocks) {
        using Blocks = decltype(blocks);
        const auto of = [&](auto n) {
            by_chunk([](Shared chunk, const InputView& view, int first_slab, float2& to) {
                VIGIL_UNROLL
                for (int s = 0; s < decltype(n)::value; ++s)
                    Blocks::multiply(chunk + static_cast<Shared>(s * Blocks::kSlabBytes), view, first_slab + s, to);
            });
        };
        if (r.slabs == 4) return of(std::integral_constant<int, 4>{});
        if (r.slabs == 2) return of(std::integral_constant<int, 2>{});
        of(std::integral_constant<int, 1>{});
    };
    const auto halves = [&](auto bfloat) {
        constexpr bool kBfloat = decltype(bfloat)::value;
        if (r.slabs == 2) return by_chunk(multiply_halves<kBfloat, 2>);
        by_chunk(multiply_halves<kBfloat, 1>);
    };
    if constexpr ((Kinds & tiles::kHalfParts) != 0)
        if (Kinds == tiles::kHalfParts || r.format == tiles::format_index(TensorFormat::kF16))
            return halves(std::false_type{});
    if constexpr ((Kinds & tiles::kBfloatParts) != 0)
        if (Kinds == tiles::kBfloatParts || r.format == tiles::format_index(TensorFormat::kBF16))
            return halves(std::true_type{});
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
    return load_run(m.team.stream.run());
}

// What a thread has to do with the sums of a run, worked out while the run's input is on its way: the first threads
// have a row each. It is kept in few registers, since the products want them.
class RowSums {
   public:
    int row = -1;  // that the thread hands on; none in those behind the last row

    RowSums() = default;
    // `partials`: the half that the run's sums go to.
    VIGIL_DEVICE RowSums(const Run& r, Shared partials, int thread) {
        row = thread < r.n_rows ? r.first_row + thread : -1;
        first_ = from(r.first_group, partials, thread);
        // A second product whose tiles follow the first's has its groups behind them.
        second_ = first_ + static_cast<Shared>(tiles::row_tiles(r.n_rows) * kTileSumBytes);
        slots_ = slots(r) | ((thread & ~31) < r.n_rows ? kHasRows : 0);
        if (r.joined != 0) slots_ |= slots_ << 8 & 0xff00;
    }
    // For one that does not.
    VIGIL_DEVICE void set_second(const Run& r, Shared partials, int thread) {
        second_ = from(r.first_group, partials, thread);
        slots_ = (slots_ & ~0xff00u) | slots(r) << 8;
    }

    VIGIL_DEVICE bool warp_has_rows() const { return (slots_ & kHasRows) != 0; }

    // What the warps have left of a row's product, to be added up.
    struct Shares {
        uint4 fours[kSlots / 4];

        VIGIL_DEVICE float sum() const {
            float of_four[kSlots / 4];
            VIGIL_UNROLL
            for (int i = 0; i < kSlots / 4; ++i)
                of_four[i] = (__uint_as_float(fours[i].x) + __uint_as_float(fours[i].y)) +
                             (__uint_as_float(fours[i].z) + __uint_as_float(fours[i].w));
            return (of_four[0] + of_four[1]) + (of_four[2] + of_four[3]);
        }
    };
    VIGIL_DEVICE Shares first() const { return load(first_, slots_ & 0xff); }
    VIGIL_DEVICE Shares second() const { return load(second_, slots_ >> 8 & 0xff); }

   private:
    static constexpr std::uint32_t kHasRows = 1u << 16;

    // Of a row's slots: one for each of the tile's chunks, but no more than there are.
    static VIGIL_DEVICE std::uint32_t slots(const Run& r) {
        return static_cast<std::uint32_t>(min(r.chunks_per_tile, kSlots));
    }
    static VIGIL_DEVICE Shared from(int group, Shared partials, int thread) {
        return slots_of_row(partials, thread & (tiles::kRows - 1)) +
               static_cast<Shared>((group + thread / tiles::kRows) * kTileSumBytes);
    }
    // Four slots at a time. The last four, of which some may be another run's, have a place of their own, so that only
    // they are chosen from.
    static VIGIL_DEVICE Shares load(Shared from, std::uint32_t n) {
        Shares s = {};
        const std::uint32_t whole = (n - 1) & ~3u;
        VIGIL_UNROLL
        for (std::uint32_t i = 0; i + 4 < kSlots; i += 4) load_shared16_if(i < whole, from ^ (4 * i), s.fours[i / 4]);
        uint4& last = s.fours[kSlots / 4 - 1];
        last = load_shared16(from ^ (4 * whole));
        if (n < whole + 2) last.y = 0;
        if (n < whole + 3) last.z = 0;
        if (n < whole + 4) last.w = 0;
        return s;
    }

    Shared first_ = 0, second_ = 0;
    std::uint32_t slots_ = 0;
};

// Neighbouring elements of the heads that a warp combines from attention's parts.
constexpr int kCombinedAtOnce = 4;

// One phase's product: y = W · from, or W · (from · norm_weight) / rms(from).
struct Projection {
    Awaited awaited;  // of `from`
    const float* from;
    int cols;
    const float* norm_weight;  // null: no norm
};

// A warp's next groups of 128 input values on their way: a first look at them, which may come too early.
struct InputLooks {
    static constexpr int kGroups = 2;
    static constexpr int kStep = tiles::kWarps * tiles::kScaleCols;
    static constexpr int kRound = kGroups * kStep;  // columns that all warps look at
    static_assert(2 * kStep * sizeof(float) == kVectorAlignment, "the next group is in the other half, a round is not");
    int nearer = 0;  // where the first group's nearer replica is, see nearer_replica
    Quad quads[kGroups];
    float4 weights[kGroups];

    // Lanes behind the vector's end look at its last values.
    static VIGIL_DEVICE int column(const Projection& p, int base, int lane) { return min(base + 4 * lane, p.cols - 4); }
    VIGIL_DEVICE void look(const Projection& p, int first, int lane) {
        look_again<0>(p, first, lane);
        if (p.norm_weight != nullptr) load_weights(p, first, lane);
    }
    // At group From and those behind it.
    template <int From>
    VIGIL_DEVICE void look_again(const Projection& p, int first, int lane) {
        VIGIL_UNROLL
        for (int u = From; u < kGroups; ++u) {
            const int base = first + u * kStep;
            const int replica = u % 2 == 0 ? nearer : kReplicaFloats - nearer;
            if (base < p.cols) quads[u] = Team::load_quad(p.from + (column(p, base, lane) + replica));
        }
    }
    VIGIL_DEVICE void load_weights(const Projection& p, int first, int lane) {
        VIGIL_UNROLL
        for (int u = 0; u < kGroups; ++u) {
            const int base = first + u * kStep;
            if (base < p.cols) weights[u] = *reinterpret_cast<const float4*>(p.norm_weight + column(p, base, lane));
        }
    }
};

// Of the columns that all warps look at once, where a warp's begin. The last warp has the first ones: in a short input
// those that have columns are then none of those that have chunks.
template <class M>
VIGIL_DEVICE int first_column(const M& m) {
    return tiles::kScaleCols * (tiles::kWarps - 1 - m.team.warp());
}

// Completes group U, Machine::complete4 for all lanes of a warp at once: they stay together, as what follows wants
// them. While it waits it looks at the next group again, too, since one after the other each would cost a trip.
template <int U, class M>
VIGIL_DEVICE void complete_in_warp(M& m, const Projection& p, InputLooks& looks, int first, int lane) {
    if (!decltype(m.exchange)::kWaits) return;
    std::uint64_t give_up = 0;
    for (std::uint32_t spins = 0; !__all_sync(~0u, looks.quads[U].carries(p.awaited.epoch)); ++spins) {
        if (looks_at_clock(spins)) {  // a branch for the whole warp; otherwise nothing is asked
            const bool waits =
                m.exchange.keeps_waiting(m.team, m.scratch(), spins, give_up, p.awaited, looks.quads[U].word[0], 0);
            if (!__all_sync(~0u, waits)) break;
        }
        looks.template look_again<U>(p, first, lane);
    }
}

// Before the first round of an input. Arrives for groups behind its end, which no warp prepares: a lane for each
// barrier, from the first warp on, since the last ones have groups to prepare. Where the input has no group at all
// nobody else waits for the phase, and synccheck wants each waited for.
template <class M>
VIGIL_DEVICE void begin_input(M& m, int cols) {
    static_assert(tiles::kWarps * 32 >= kMaxReady, "lanes enough");
    StreamControl* c = control(m.team);
    m.team.stream.next_input();
    const int index = m.team.warp() + tiles::kWarps * m.team.lane();
    const int n_groups = max((cols - index * kReadyCols + tiles::kScaleCols - 1) / tiles::kScaleCols, 0);
    if (n_groups >= kReadyGroups || index >= c->n_ready) return;
    const Shared ready = ready_barrier(c, static_cast<std::uint32_t>(index));
    barrier_arrive(ready, static_cast<std::uint32_t>(kReadyGroups - n_groups) * kArrivingLanes);
    while (n_groups == 0 && !barrier_passed(ready, m.team.stream.input() ^ 1)) {
    }
}

// This warp's groups of columns [begin, end) of the vector: each once it is complete, times the norm's weight if there
// is one, into the phases' area; the ready barriers hear of it. Returns the lane's sum of squares. `norm`: whether
// there is one. What lies behind the last group is short: the warp's own products wait for it.
template <class M>
VIGIL_DEVICE float prepare_columns(M& m, std::uint32_t kinds, const Projection& p, InputLooks& looks, int begin,
                                   int end, bool norm) {
    const int lane = m.team.lane();
    const InputWriter<M::Team::kKinds> writer(shared_address(m.area()), tiles::InputLayout(kinds, p.cols), kinds, lane);
    StreamControl* c = control(m.team);
    float squares = 0.0f;
    const auto add_group = [&](const Quad& quad, const float4& weights, int base) {
        const std::uint32_t mask = base + 4 * lane < p.cols ? ~kEpochMask : 0;  // zeros behind the vector's end
        float v[4];
        VIGIL_UNROLL
        for (int j = 0; j < 4; ++j) v[j] = ring::bits_float(quad.word[j] & mask);
        if (norm) {
            const float w[4] = {weights.x, weights.y, weights.z, weights.w};
            VIGIL_UNROLL
            for (int j = 0; j < 4; ++j) {
                squares = fused(m.team, v[j], v[j], squares);
                v[j] *= w[j];
            }
        }
        writer.store(base, v);
        __syncwarp();
        if (lane < kArrivingLanes) barrier_arrive(ready_barrier(c, static_cast<std::uint32_t>(base) / kReadyCols), 1);
    };
    static_assert(InputLooks::kGroups == 2, "as below");
    // Elsewhere a round is one step of this loop, or there are no registers.
    constexpr bool kAhead = M::Team::kKinds == tiles::kInt8Digits;
    VIGIL_UNROLL_BY(1)
    for (int first = begin + first_column(m); first < end;) {
        complete_in_warp<0>(m, p, looks, first, lane);
        const int next = first + InputLooks::kRound;
        const bool another = next < end;
        InputLooks ahead = {};  // under way while these are converted
        if (kAhead && another) {
            ahead.nearer = looks.nearer;
            ahead.look_again<0>(p, next, lane);
        }
        add_group(looks.quads[0], looks.weights[0], first);
        if (first + InputLooks::kStep >= p.cols) break;  // for the whole warp
        complete_in_warp<1>(m, p, looks, first, lane);
        add_group(looks.quads[1], looks.weights[1], first + InputLooks::kStep);
        if (!another) break;
        if (kAhead) {
            looks.quads[0] = ahead.quads[0], looks.quads[1] = ahead.quads[1];
            if (norm) looks.load_weights(p, next, lane);
        } else {
            looks.look(p, next, lane);
        }
        first = next;
    }
    return squares;
}

// This warp's part of columns [begin, end) of a product's input, and behind a norm, where they are all, of the squares'
// sums for its warp. The block's threads must all call.
template <class M>
VIGIL_DEVICE void gather_input(M& m, const KernelArgs& a, const Run& r, const Projection& p, InputLooks& looks,
                               int begin, int end) {
    const std::uint32_t kinds = M::Team::kinds(r.kinds);
    const auto prepare = [&](bool norm) {
        const float squares = prepare_columns(m, kinds, p, looks, begin, end, norm);
        if (norm) {
            m.team.stream.next_norm();
            leave_squares(control(m.team), m.team.stream.norm() ^ 1, squares);
        }
        m.trace_gathered(a);
    };
    const bool norm = p.norm_weight != nullptr;
    // Inlined, so that with a constant there is code for each.
    if constexpr (M::Team::kPreparesApart)
        norm ? prepare(true) : prepare(false);
    else
        prepare(norm);
}

}  // namespace sm90

// ---- overloads ----------------------------------------------------------------------------------------------

template <std::uint32_t K, class X>
VIGIL_DEVICE void prepare_shares(const StreamMachine<K, X>& m, const KernelArgs& a) {
    if (m.team.thread() != 0) return;
    const int at_once = K == sm90::kAllKinds ? 1 : sm90::kCombinedAtOnce;  // the portable phase takes any number
    const Range mine = share(head_rows(a.config) / at_once, m.team.block(), m.team.n_blocks());
    m.scratch()->shares.heads = {at_once * mine.begin, at_once * mine.end};
}

}  // namespace vigil::device
