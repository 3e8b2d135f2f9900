// What the machines share of the door: the order of the steps and the scratch they need.
#include <algorithm>

#include "device/launch.h"
#include "device/phases/common.cuh"
#include "device/phases/sample.cuh"

namespace vigil::device {
namespace {

constexpr ring::Phase kLayerPhases[] = {ring::Phase::kQkv,        ring::Phase::kAttention, ring::Phase::kCombine,
                                        ring::Phase::kOutputProj, ring::Phase::kGateUp,    ring::Phase::kDown};
constexpr std::int32_t kPerLayer = 6;

// Sampling keeps its candidates in the phases' area: room for the top-k of ordinary settings in whole tiles.
constexpr std::int32_t kCandidateFloats = 2 * 64 * kTileRows;
constexpr std::int32_t kNotesFloats = sizeof(SampleNotes) / sizeof(float);

// Of the phases' area: queries, key and value in FP32, the latter two again in FP16, and what each warp found.
std::int32_t attention_floats(const ModelConfig& c, std::int32_t n_warps) {
    const std::int32_t per_group = c.n_heads / c.n_kv_heads;
    const std::int32_t heads_per_pass = n_warps > 1 ? kGpuHeadsPerPass : kCpuHeadsPerPass;
    return (per_group + 3) * c.head_dim + n_warps * heads_per_pass * (c.head_dim + 2);
}

}  // namespace

std::int32_t n_steps(const ModelConfig& config) {
    return 2 + config.n_layers * kPerLayer + 2;
}

Step step_at(const ModelConfig& config, std::int32_t index) {
    if (index == 0) return {ring::Phase::kDirective, -1};
    if (index == 1) return {ring::Phase::kEmbed, -1};
    const std::int32_t in_layers = index - 2;
    if (in_layers < config.n_layers * kPerLayer) return {kLayerPhases[in_layers % kPerLayer], in_layers / kPerLayer};
    return {in_layers == config.n_layers * kPerLayer ? ring::Phase::kLogits : ring::Phase::kSample, -1};
}

SharedNeed shared_need(const ModelConfig& c, std::int32_t n_warps) {
    const std::int32_t attention = attention_floats(c, n_warps);
    const std::int32_t heads = head_rows(c);
    const auto larger = [](std::int32_t a, std::int32_t b) { return a > b ? a : b; };
    const std::int32_t minimum = larger(kNotesFloats, larger(attention, input_floats(c.dim)));
    std::int32_t wanted = larger(minimum, larger(input_floats(heads), input_floats(c.ffn_dim)));
    if (wanted < kCandidateFloats) wanted = kCandidateFloats;
    constexpr std::int32_t kHead = sizeof(BlockScratch);
    constexpr std::int32_t kFloat = sizeof(float);
    return {kHead + minimum * kFloat, kHead + wanted * kFloat};
}

std::int32_t phase_area_bytes(const ModelConfig& c) {
    return std::max(attention_floats(c, cuda::kThreadsPerBlock / 32), kCandidateFloats) *
           static_cast<std::int32_t>(sizeof(float));
}

std::int32_t scratch_bytes() {
    return sizeof(BlockScratch);
}

std::int32_t max_blocks(const ModelConfig& c) {
    const std::int32_t qkv = head_rows(c) + 2 * kv_rows(c);
    const std::int32_t least = c.dim < c.ffn_dim ? c.dim : c.ffn_dim;
    return qkv < least ? qkv : least;
}

}  // namespace vigil::device
