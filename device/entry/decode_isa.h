// The CPU machine's decode path, once per instruction set. Each is defined in a source file that is compiled for it.
#pragma once

#include <cstdint>

#include "device/launch.h"

namespace vigil::device::cpu {

using RunResident = void(const KernelArgs& args, std::int32_t block, void* scratch);
using RunStep = void(const KernelArgs& args, const Step& step, std::int32_t block, void* scratch);

RunResident run_resident_avx2;
RunResident run_resident_baseline;
RunStep run_step_avx2;
RunStep run_step_baseline;

}  // namespace vigil::device::cpu
