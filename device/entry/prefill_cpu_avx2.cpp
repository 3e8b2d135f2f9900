// Prefill on CPUs with AVX2, FMA and F16C; compiled for them.
#include "device/entry/prefill_cpu.h"

namespace vigil::device::cpu {

void run_prefill_avx2(const PrefillChunk& chunk, const PrefillStep& step, std::int32_t block, std::int32_t n_blocks,
                      void* scratch) {
    run_prefill_for<Avx2>(chunk, step, block, n_blocks, scratch);
}

}  // namespace vigil::device::cpu
