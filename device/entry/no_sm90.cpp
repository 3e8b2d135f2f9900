// The Hopper path's door in a build whose compiler does not know it, or without CUDA.
#include "device/sm90/launch.h"

namespace vigil::device::sm90 {
namespace {
constexpr int kInvalidFunction = 98;  // cudaErrorInvalidDeviceFunction
}

bool is_built() {
    return false;
}
int prepare(const GridPlan&) {
    return kInvalidFunction;
}
int max_blocks_per_sm(const GridPlan&, std::int32_t* blocks) {
    *blocks = 0;
    return kInvalidFunction;
}
int launch_resident(const KernelArgs&, void*) {
    return kInvalidFunction;
}
int launch_step(const KernelArgs&, Step, bool, void*) {
    return kInvalidFunction;
}

}  // namespace vigil::device::sm90
