// Prefill on any CPU that the compiler's default target covers.
#include "device/entry/prefill_cpu.h"

namespace vigil::device::cpu {

void run_prefill_baseline(const PrefillChunk& chunk, const PrefillStep& step, std::int32_t block, std::int32_t n_blocks,
                          void* scratch) {
    run_prefill_for<Baseline>(chunk, step, block, n_blocks, scratch);
}

}  // namespace vigil::device::cpu
