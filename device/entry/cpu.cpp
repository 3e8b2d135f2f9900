// The CPU machine's door: chooses the instruction set once, the best that this CPU has unless told otherwise.
#include <atomic>
#include <cstring>

#include "device/entry/decode_isa.h"

namespace vigil::device::cpu {
namespace {

struct IsaEntry {
    const char* name;
    bool (*available)();
    RunResident* run_resident;
    RunStep* run_step;
};

constexpr IsaEntry kIsas[] = {
    {"avx2",
     [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"); },
     run_resident_avx2, run_step_avx2},
    {"baseline", [] { return true; }, run_resident_baseline, run_step_baseline},
};

const IsaEntry* best_isa() {
    for (const IsaEntry& entry : kIsas)
        if (entry.available()) return &entry;
    return nullptr;  // not reached: the baseline is always there
}

std::atomic<const IsaEntry*>& current() {
    static std::atomic<const IsaEntry*> entry{best_isa()};
    return entry;
}

}  // namespace

const char* isa() {
    return current().load(std::memory_order_acquire)->name;
}

bool select_isa(const char* name) {
    for (const IsaEntry& entry : kIsas) {
        if (std::strcmp(entry.name, name) != 0 || !entry.available()) continue;
        current().store(&entry, std::memory_order_release);
        return true;
    }
    return false;
}

void run_resident(const KernelArgs& args, std::int32_t block, void* scratch) {
    current().load(std::memory_order_acquire)->run_resident(args, block, scratch);
}

void run_step(const KernelArgs& args, std::int32_t step, std::int32_t block, void* scratch) {
    current().load(std::memory_order_acquire)->run_step(args, step_at(args.config, step), block, scratch);
}

}  // namespace vigil::device::cpu
