// The one file of the emulator that is compiled with the shims in place of CUDA's headers.
#include "tests/emulator/grid.h"

#include "device/resident_kernel.cuh"
#include "device/seams/leaves_cuda.cuh"
#include "device/sm90/block.cuh"
#include "device/steps.cuh"

namespace vigil::emulator {

using device::StreamMachine;
using device::sm90::make_team;
using device::sm90::Team;

void run_resident(const device::KernelArgs& args) {
    run_grid(args.plan.n_blocks, device::sm90::kThreads, static_cast<std::size_t>(args.plan.shared_bytes),
             [&](char* shared) {
                 device::sm90::run_block(args, shared, false, [&](char* team_shared) {
                     StreamMachine<device::ResidentExchange<Team>> m{make_team(team_shared), {}};
                     device::resident_loop(m, args);
                 });
             });
}

void run_step(const device::KernelArgs& args, device::Step step) {
    const bool one_block = step.phase == ring::Phase::kDirective || step.phase == ring::Phase::kSample;
    run_grid(one_block ? 1 : args.plan.n_blocks, device::sm90::kThreads,
             static_cast<std::size_t>(args.plan.shared_bytes), [&](char* shared) {
                 device::sm90::run_block(args, shared, true, [&](char* team_shared) {
                     StreamMachine<device::LaunchExchange<Team>> m{make_team(team_shared), {}};
                     device::run_phase(m, args, step.phase, step.layer);
                 });
             });
}

}  // namespace vigil::emulator
