// What CUDA says about one GPU, in one struct. Attributes only: the fields of cudaDeviceProp come and go.
#pragma once

#include <cstddef>
#include <string>

namespace vigil::host::cuda {

struct Properties {
    std::string name;
    int major = 0;
    int minor = 0;
    int multiprocessors = 0;
    int shared_bytes_per_block = 0;  // after opting in
    std::size_t memory_bytes = 0;
    bool can_map_host_memory = false;
    bool unified_addressing = false;
    bool watchdog = false;    // the driver ends kernels that run for seconds
    bool prohibited = false;  // compute mode: nobody may use it
    bool exclusive = false;   // compute mode: one process at a time

    std::string architecture() const { return "sm_" + std::to_string(10 * major + minor); }
};

// Makes CUDA load all kernels at once instead of at their first launch, which would wait for a resident kernel.
// Before the first CUDA call of the process.
void prepare_environment();

// Creates no context. Throws DeviceError.
Properties read_properties(int index);

}  // namespace vigil::host::cuda
