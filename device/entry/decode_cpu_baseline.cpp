// Decoding on any CPU that the compiler's default target runs on.
#include "device/entry/decode_cpu.h"

namespace vigil::device::cpu {

void run_resident_baseline(const KernelArgs& args, std::int32_t block, void* scratch) {
    run_resident_for<Baseline>(args, block, scratch);
}

void run_step_baseline(const KernelArgs& args, const Step& step, std::int32_t block, void* scratch) {
    run_step_for<Baseline>(args, step, block, scratch);
}

}  // namespace vigil::device::cpu
