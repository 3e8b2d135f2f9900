// The prefill steps for one instruction set of the CPU machine. Included by one source file per set, which is compiled
// for it; prefill_cpu.cpp chooses among them.
#pragma once

#include "device/cpu/leaves.h"
#include "device/entry/prefill_isa.h"
#include "device/prefill/gemm_cpu.h"
#include "device/prefill/steps.cuh"

namespace vigil::device::cpu {

template <class Isa>
void run_prefill_for(const PrefillChunk& chunk, const PrefillStep& step, std::int32_t block, std::int32_t n_blocks,
                     void* scratch) {
    using Team = CpuTeam<Isa>;
    Machine<Team, LaunchExchange<Team>> m{Team{static_cast<char*>(scratch), block, n_blocks}, {}};
    switch (step.op) {
        case PrefillOp::kEmbed:
            run_prefill_op<PrefillOp::kEmbed>(m, chunk, step);
            break;
        case PrefillOp::kNorm:
            run_prefill_op<PrefillOp::kNorm>(m, chunk, step);
            break;
        case PrefillOp::kGemm:
            run_prefill_op<PrefillOp::kGemm>(m, chunk, step);
            break;
        case PrefillOp::kRopeAppend:
            run_prefill_op<PrefillOp::kRopeAppend>(m, chunk, step);
            break;
        case PrefillOp::kAttention:
            run_prefill_op<PrefillOp::kAttention>(m, chunk, step);
            break;
        case PrefillOp::kSwiglu:
            run_prefill_op<PrefillOp::kSwiglu>(m, chunk, step);
            break;
        case PrefillOp::kUnpack:
            run_prefill_op<PrefillOp::kUnpack>(m, chunk, step);
            break;
    }
}

}  // namespace vigil::device::cpu
