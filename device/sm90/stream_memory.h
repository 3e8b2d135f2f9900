// What the weight stream keeps in a block's shared memory, and where: for the kernel, and for the plan that has to make
// room for it. stream.cuh says how it is used.
#pragma once

#include <cstdint>

#include "device/seams/machine.cuh"
#include "device/sm90/tiles.h"

namespace vigil::device::sm90 {

constexpr int kMaxStages = 32;
constexpr int kMaxCopiesInFlight = 31;  // all bits of Run::copies
// Of a product's input that many columns become ready together: two warps' groups, a K-quant's block.
constexpr int kReadyCols = 256;
constexpr int kReadyGroups = kReadyCols / tiles::kScaleCols;
constexpr int kReadySlabs = kReadyCols / tiles::kSlabCols;
constexpr int kMaxReady = tiles::kMaxCols / kReadyCols;
// Tiles of a run, or of the two runs of a pair of matrices: what the partial sums of one barrier interval hold.
constexpr int kBatchTiles = 8;
// Each warp leaves its share of a tile's rows in slots of its own.
constexpr int kSlots = 16;
constexpr int kTileSumBytes = tiles::kRows * kSlots * 4;
// Two of them, in turn. What attention's warps leave in both wants some bytes more.
constexpr int kPartialBytes = kBatchTiles * kTileSumBytes + 512;
static_assert(kPartialBytes % 128 == 0, "slots are found by the lower bits of their addresses");
// Sums of an input's squares that each warp leaves for the norm's.
constexpr int kSquaresOfWarp = 8;

// Some tiles of one matrix, consumed between two barriers of the block: what the producer and the warps have to know of
// them. A phase of which a block has no share is a run without chunks.
struct alignas(16) Run {
    const char* from;
    std::uint32_t chunk_bytes;
    std::uint16_t n_chunks;
    std::uint8_t stage_log2;  // a stage holds 2^stage_log2 chunks
    std::uint8_t format;      // tiles::format_index
    std::int32_t first_row;   // of the rows that the phase counts
    std::uint16_t n_rows;     // that exist
    std::uint16_t chunks_per_tile;
    std::uint16_t reciprocal;  // i / chunks_per_tile is i times this over 256, for i below tiles::kWarps
    std::uint8_t step_tiles;   // the chunk that a warp takes next is so many tiles …
    std::uint8_t step_chunks;  // … and chunks further on
    std::uint8_t slabs;        // of a chunk
    std::uint8_t first_group;  // of the partial sums' slots, one group per tile
    std::uint8_t kinds;        // tiles::InputKind of all the phase's matrices
    std::uint8_t copies : 5;   // that are on their way at once while the producer is at this run
    std::uint8_t last_of_phase : 1;
    std::uint8_t joined : 1;  // of a pair's first: the second's tiles are multiplied with its own, as if they followed
};
static_assert(sizeof(Run) == 32, "read as two words of 16 bytes");

// What is the same of a phase's product in every layer and token: its input …
struct alignas(16) PhaseInput {
    const float* from;
    std::int32_t cols;
    // Where in shared memory the pointer to the norm's weight is, for even layers and so much further on for odd ones.
    std::uint16_t norm_at, norm_stride;
};
// … and what becomes of it.
struct alignas(16) PhaseResult {
    float* to;             // row 0
    std::uint32_t normed;  // 1 behind a norm, else 0
};
struct PhaseShape {
    PhaseInput input;
    PhaseResult result;
};
static_assert(sizeof(PhaseInput) == 16 && sizeof(PhaseResult) == 16, "each read at once");
constexpr int kPhases = static_cast<int>(ring::Phase::kLogits) - static_cast<int>(ring::Phase::kQkv) + 1;

// What a block knows of its stream. In shared memory before BlockScratch, where its place is known to the compiler.
struct alignas(128) StreamControl {
    // Where they begin, as addresses in shared memory. The first four words are read at once.
    std::uint32_t stages, partials;
    std::int32_t n_stages, stage_bytes;
    std::uint32_t runs;
    std::int32_t n_ready;             // barriers for the longest input
    std::uint32_t near_half;          // see find_near_half; of a kernel of one step some half
    std::uint64_t full[kMaxStages];   // the copy engine arrives
    std::uint64_t empty[kMaxStages];  // the warps that have read a chunk arrive
    // All complete a phase with each input, also those behind its end.
    std::uint64_t ready[kMaxReady];  // the warps that have prepared its columns arrive
    std::uint64_t squared;           // the warps that have left their sum of squares arrive
    std::uint64_t scaled;            // the norm's warp arrives
    std::uint64_t heads_ready;       // the warps that have prepared attention's heads, or have none to, arrive
    float norm_scale;                // then this is what the products behind the last norm are multiplied by
    // The list: its length, and where it goes on after the layers.
    std::uint32_t n_runs, first_logits;
    // Writer: a thread of the consumers. The producer polls.
    std::uint32_t token;  // twice the number of tokens begun so far, plus 1 if the last one's logits are wanted
    std::uint32_t stop;
    std::uint64_t stopped;  // in its place for racecheck: one arrival, since atomics polled that often never end there
    PhaseShape phases[kPhases];
    alignas(16) float squares[2][tiles::kWarps][kSquaresOfWarp];  // in turn
    const float* output_norm;
    const float* no_norm;  // null
    float* host_logits;    // of the token under way
};

// Where the parts lie in a block's shared memory, in bytes from its start: the control, the BlockScratch, the phases'
// area, the list of runs, the partial sums, the stages.
struct StreamMemory {
    std::int32_t runs, partials, stages;
    std::int32_t bytes;  // in all

    VIGIL_HD explicit StreamMemory(const GridPlan& plan) {
        runs = static_cast<std::int32_t>(sizeof(StreamControl) + sizeof(BlockScratch)) + plan.area_bytes;
        partials = (runs + plan.stream.n_runs * static_cast<std::int32_t>(sizeof(Run)) + 127) / 128 * 128;
        stages = partials + 2 * kPartialBytes;
        bytes = stages + plan.stream.n_stages * plan.stream.stage_bytes;
    }
};

}  // namespace vigil::device::sm90
