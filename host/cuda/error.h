// CUDA errors as exceptions.
#pragma once

#include <cuda_runtime.h>
#include <source_location>
#include <string>
#include <string_view>

#include "host/device.h"

namespace vigil::host::cuda {

// "cudaErrorMemoryAllocation (out of memory)"
std::string describe(cudaError_t error);

// Throws DeviceError with the call, the error and the place in the source unless `error` is success. Clears CUDA's
// memory of the error, so that a later, unrelated check does not report it again.
void check(cudaError_t error, std::string_view call, std::source_location where = std::source_location::current());

// The same for the functions of device/launch.h.
inline void check(int error, std::string_view call, std::source_location where = std::source_location::current()) {
    check(static_cast<cudaError_t>(error), call, where);
}

}  // namespace vigil::host::cuda
