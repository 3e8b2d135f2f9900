#include "host/cuda/properties.h"

#include <cstdlib>
#include <cuda_runtime.h>
#include <mutex>

#include "host/cuda/error.h"

namespace vigil::host::cuda {

void prepare_environment() {
    static std::once_flag once;
    std::call_once(once, [] { setenv("CUDA_MODULE_LOADING", "EAGER", 1); });
}

Properties read_properties(int index) {
    cudaDeviceProp all{};
    check(cudaGetDeviceProperties(&all, index), "cudaGetDeviceProperties");
    const auto attribute = [&](cudaDeviceAttr which) {
        int value = 0;
        check(cudaDeviceGetAttribute(&value, which, index), "cudaDeviceGetAttribute");
        return value;
    };
    Properties p;
    p.name = all.name;
    p.memory_bytes = all.totalGlobalMem;
    p.major = attribute(cudaDevAttrComputeCapabilityMajor);
    p.minor = attribute(cudaDevAttrComputeCapabilityMinor);
    p.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
    p.shared_bytes_per_block = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    p.can_map_host_memory = attribute(cudaDevAttrCanMapHostMemory) != 0;
    p.unified_addressing = attribute(cudaDevAttrUnifiedAddressing) != 0;
    p.watchdog = attribute(cudaDevAttrKernelExecTimeout) != 0;
    const int mode = attribute(cudaDevAttrComputeMode);
    p.prohibited = mode == cudaComputeModeProhibited;
    p.exclusive = mode == cudaComputeModeExclusiveProcess;
    return p;
}

}  // namespace vigil::host::cuda
