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

namespace {

template <class Exchange, class List, class Consume>
void run_blocks(const device::KernelArgs& args, int n_blocks, device::sm90::Extent extent, List&& list,
                Consume&& consume) {
    device::sm90::with_kernel(args.plan.stream, [&](auto kernel) {
        run_grid(n_blocks, device::sm90::kThreads, static_cast<std::size_t>(args.plan.shared_bytes), [&](char* shared) {
            device::sm90::run_block(args, shared, extent, list, [&](char* team_shared) {
                StreamMachine<kernel.value, Exchange> m{make_team<kernel.value>(team_shared), {}};
                consume(m);
            });
        });
    });
}

}  // namespace

void run_resident(const device::KernelArgs& args) {
    run_blocks<device::ResidentExchange<Team>>(
        args, args.plan.n_blocks, device::sm90::Extent::kTokens,
        [&](const Team& team) { device::sm90::RunsOfAllLayers{args}.list(team); },
        [&](auto& m) { device::resident_loop(m, args); });
}

void run_step(const device::KernelArgs& args, device::Step step) {
    const bool one_block = step.phase == ring::Phase::kDirective || step.phase == ring::Phase::kSample;
    run_blocks<device::LaunchExchange<Team>>(args, one_block ? 1 : args.plan.n_blocks,
                                             device::sm90::step_extent(step.phase),
                                             device::sm90::RunsOfStep{args, step.phase, step.layer},
                                             [&](auto& m) { device::run_phase(m, args, step.phase, step.layer); });
}

}  // namespace vigil::emulator
