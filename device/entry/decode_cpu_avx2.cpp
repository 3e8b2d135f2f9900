// Decoding on CPUs with AVX2, FMA and F16C; compiled for them.
#include "device/entry/decode_cpu.h"

namespace vigil::device::cpu {

void run_resident_avx2(const KernelArgs& args, std::int32_t block, void* scratch) {
    run_resident_for<Avx2>(args, block, scratch);
}

void run_step_avx2(const KernelArgs& args, const Step& step, std::int32_t block, void* scratch) {
    run_step_for<Avx2>(args, step, block, scratch);
}

}  // namespace vigil::device::cpu
