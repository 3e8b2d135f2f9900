// The Hopper kernels behind device/launch.h, which passes a plan with a stream on to them. Errors are cudaError_t
// values.
#pragma once

#include <cstdint>

#include "device/launch.h"

namespace vigil::device::sm90 {

bool is_built();  // else the others are never called
int prepare(const GridPlan& plan);
int max_blocks_per_sm(const GridPlan& plan, std::int32_t* blocks);
int launch_resident(const KernelArgs& args, void* stream);
int launch_step(const KernelArgs& args, Step step, bool one_block, void* stream);

}  // namespace vigil::device::sm90
