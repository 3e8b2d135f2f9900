// The CUDA machines' door in a build without CUDA: nothing is there, and every call says so.
#include "device/launch.h"
#include "device/prefill_launch.h"
#include "device/read_ceiling.h"

namespace vigil::device::cuda {
namespace {
constexpr int kNoDevice = 100;  // cudaErrorNoDevice
}

bool has_cuda() {
    return false;
}
const char* architectures() {
    return "";
}
int launch_resident(const KernelArgs&, void*) {
    return kNoDevice;
}
int launch_step(const KernelArgs&, std::int32_t, void*) {
    return kNoDevice;
}
int max_blocks_per_sm(const GridPlan&, std::int32_t* blocks) {
    *blocks = 0;
    return kNoDevice;
}
int prepare(const GridPlan&) {
    return kNoDevice;
}
int launch_prefill(const PrefillChunk&, const PrefillStep&, void*) {
    return kNoDevice;
}
int prepare_prefill() {
    return kNoDevice;
}
bool has_stream() {
    return false;
}
bool has_tensor_cores() {
    return false;
}
int launch_read(const void*, std::size_t, std::int32_t, std::uint32_t*, std::int32_t, void*) {
    return kNoDevice;
}

}  // namespace vigil::device::cuda
