#include "host/cuda/error.h"

#include <fmt/format.h>

namespace vigil::host::cuda {

std::string describe(cudaError_t error) {
    return fmt::format("{} ({})", cudaGetErrorName(error), cudaGetErrorString(error));
}

void check(cudaError_t error, std::string_view call, std::source_location where) {
    if (error == cudaSuccess) return;
    cudaGetLastError();
    throw DeviceError(fmt::format("{}: {} at {}:{}", call, describe(error), where.file_name(), where.line()));
}

}  // namespace vigil::host::cuda
