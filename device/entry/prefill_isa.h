// The CPU machine's prefill, once per instruction set. Each is defined in a source file that is compiled for it.
#pragma once

#include <cstdint>

#include "device/prefill_launch.h"

namespace vigil::device::cpu {

using RunPrefill = void(const PrefillChunk& chunk, const PrefillStep& step, std::int32_t block, std::int32_t n_blocks,
                        void* scratch);
RunPrefill run_prefill_avx2;
RunPrefill run_prefill_baseline;

}  // namespace vigil::device::cpu
