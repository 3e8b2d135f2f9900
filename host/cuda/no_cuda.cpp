// What a build without CUDA answers.
#include "host/device.h"

namespace vigil::host {

std::unique_ptr<Device> make_cuda_device(int) {
    throw DeviceError(
        "this build has no CUDA; install a CUDA toolkit and build again with scripts/build.sh, or use --device cpu");
}

int cuda_device_count() noexcept {
    return 0;
}

}  // namespace vigil::host
