// The Hopper path's kernels on the emulator.
#pragma once

#include "device/launch.h"

namespace vigil::emulator {

// Both return when the grid has left. Throw std::runtime_error when it stands still.
void run_resident(const device::KernelArgs& args);
void run_step(const device::KernelArgs& args, device::Step step);

}  // namespace vigil::emulator
