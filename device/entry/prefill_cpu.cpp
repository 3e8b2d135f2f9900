// The CPU machine's door for prefill: chooses the instruction set that the CPU machine uses.
#include <algorithm>
#include <cstring>

#include "device/entry/prefill_isa.h"
#include "device/launch.h"
#include "device/prefill/gemm_cpu.h"
#include "device/prefill/steps.cuh"

namespace vigil::device::cpu {

std::size_t prefill_scratch_bytes(const ModelConfig& config) {
    std::size_t most = 0;
    for (const PrefillOp op : {PrefillOp::kGemm, PrefillOp::kRopeAppend, PrefillOp::kAttention})
        most = std::max(most, prefill_shared_bytes(op, config, GemmTile<CpuTeam<Baseline>>::kAreaFloats));
    return most;
}

void run_prefill(const PrefillChunk& chunk, const PrefillStep& step, std::int32_t block, std::int32_t n_blocks,
                 void* scratch) {
    RunPrefill* run = std::strcmp(isa(), "avx2") == 0 ? run_prefill_avx2 : run_prefill_baseline;
    run(chunk, step, block, n_blocks, scratch);
}

}  // namespace vigil::device::cpu
