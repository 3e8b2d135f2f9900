// Bulk copies in a build without CUDA: there are none.
#include "device/read_ceiling.h"

namespace vigil::device::cuda {

bool can_bulk_read() {
    return false;
}
int launch_bulk_read(const void*, std::size_t, std::int32_t, std::int32_t, std::uint32_t*, std::int32_t, void*) {
    constexpr int kNoDevice = 100;  // cudaErrorNoDevice
    return kNoDevice;
}

}  // namespace vigil::device::cuda
