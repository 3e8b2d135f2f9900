// How a model in tiles is laid over a Hopper GPU's shared memory.
#include <algorithm>

#include "device/launch.h"
#include "device/phases/common.cuh"
#include "device/sm90/heads.h"
#include "device/sm90/replicas.h"
#include "device/sm90/stream_memory.h"

namespace vigil::device {
namespace {

std::int32_t ceil_div(std::int32_t a, std::int32_t b) {
    return (a + b - 1) / b;
}

// The most runs that a share of n tiles, cut every `at_once` tiles, can be.
std::int32_t runs_of(std::int32_t n, std::int32_t n_blocks, std::int32_t at_once) {
    return ceil_div(ceil_div(n, n_blocks), at_once);
}

std::int32_t runs_per_layer(const ModelConfig& c, std::int32_t n_blocks) {
    using sm90::kBatchTiles;
    const std::int32_t qkv = tiles::row_tiles(head_rows(c)) + 2 * tiles::row_tiles(kv_rows(c));
    return runs_of(qkv, n_blocks, kBatchTiles) + 2  // and two boundaries between matrices
           + 2 * runs_of(tiles::row_tiles(c.dim), n_blocks, kBatchTiles) +
           2 * runs_of(tiles::row_tiles(c.ffn_dim), n_blocks, kBatchTiles / 2);
}

std::int32_t logits_runs(const ModelConfig& c, std::int32_t n_blocks) {
    const std::int32_t tiles =
        ceil_div(ceil_div(c.vocab_size, kTileRows), n_blocks) * (kTileRows / device::tiles::kRows);
    return ceil_div(tiles, sm90::kBatchTiles);
}

// Of one replica of the vectors that host/workspace.cpp gives two.
std::size_t replicated_bytes(const ModelConfig& c) {
    std::size_t bytes = 0;
    for (const std::int32_t floats : {c.dim, head_rows(c) + 2 * kv_rows(c), head_rows(c), c.ffn_dim}) {
        const std::size_t units = (static_cast<std::size_t>(floats) * sizeof(float) - 1) / sm90::kVectorAlignment + 1;
        bytes += units * sm90::kVectorAlignment;
    }
    return bytes;
}

}  // namespace

bool plan_stream(const ModelConfig& c, std::int32_t shared_bytes, GridPlan& plan) {
    constexpr std::int32_t kLine = 128;
    const auto input = [](std::uint32_t kinds, std::int32_t cols) { return tiles::InputLayout(kinds, cols).bytes; };
    if (replicated_bytes(c) > sm90::kReplicaDistance) return false;
    GridPlan trial = plan;
    const std::int32_t area = std::max({phase_area_bytes(c), input(c.stream.dim, c.dim),
                                        input(c.stream.heads, head_rows(c)), input(c.stream.ffn, c.ffn_dim)});
    trial.area_bytes = ceil_div(area, kLine) * kLine;
    trial.stream.stage_bytes = c.stream.stage_bytes;
    trial.stream.bytes_in_flight = c.stream.bytes_in_flight;
    trial.stream.logits_bytes_in_flight = c.stream.logits_bytes_in_flight;
    trial.stream.in_rounds = c.stream.in_rounds;
    trial.stream.runs_per_layer = runs_per_layer(c, plan.n_blocks);
    trial.stream.n_runs = c.n_layers * trial.stream.runs_per_layer + logits_runs(c, plan.n_blocks);
    trial.stream.kinds = c.stream.dim | c.stream.heads | c.stream.ffn;
    trial.stream.max_cols = std::max({c.dim, head_rows(c), c.ffn_dim});
    trial.stream.other_heads = sm90::takes_heads(c) ? 0 : 1;
    trial.stream.n_stages = 0;
    const std::int32_t rest = shared_bytes - sm90::StreamMemory(trial).bytes;
    trial.stream.n_stages = std::min(rest / c.stream.stage_bytes, sm90::kMaxStages);
    // The ring is longer than a round and the copies in flight, and a run's last stage may be short. stream.cuh has the
    // reason.
    trial.stream.max_copies_in_flight =
        std::min(trial.stream.n_stages - c.stream.stages_per_round - 2, sm90::kMaxCopiesInFlight);
    if (trial.stream.max_copies_in_flight < tiles::kMinCopiesInFlight) return false;
    trial.shared_bytes = sm90::StreamMemory(trial).bytes;
    plan = trial;
    return true;
}

}  // namespace vigil::device
