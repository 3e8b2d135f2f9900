// The resident loop and the single steps for one instruction set of the CPU machine. Included by one source file per
// set, which is compiled for it; cpu.cpp chooses among them.
#pragma once

#include "device/cpu/leaves.h"
#include "device/entry/decode_isa.h"
#include "device/resident_kernel.cuh"
#include "device/steps.cuh"

namespace vigil::device::cpu {

template <class Isa>
void run_resident_for(const KernelArgs& args, std::int32_t block, void* scratch) {
    using Team = CpuTeam<Isa>;
    Machine<Team, ResidentExchange<Team>> m{Team{static_cast<char*>(scratch), block, args.plan.n_blocks}, {}};
    resident_loop(m, args);
}

template <class Isa>
void run_step_for(const KernelArgs& args, const Step& step, std::int32_t block, void* scratch) {
    using Team = CpuTeam<Isa>;
    Machine<Team, LaunchExchange<Team>> m{Team{static_cast<char*>(scratch), block, args.plan.n_blocks}, {}};
    run_phase(m, args, step.phase, step.layer);
}

}  // namespace vigil::device::cpu
