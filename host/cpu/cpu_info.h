// What Linux says about the processor and the memory.
#pragma once

#include <cstddef>
#include <string>

namespace vigil::host {

struct MemoryInfo {
    std::size_t total_bytes = 0;
    std::size_t available_bytes = 0;  // what can be had without swapping
};

// From /proc/meminfo; zeroes where it can't be read.
MemoryInfo read_memory_info();

// From /proc/cpuinfo, such as "AMD EPYC 9654 96-Core Processor"; "CPU" if it does not say.
std::string cpu_name();

}  // namespace vigil::host
