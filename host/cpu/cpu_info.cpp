#include "host/cpu/cpu_info.h"

#include <fstream>
#include <string_view>

namespace vigil::host {

MemoryInfo read_memory_info() {
    MemoryInfo memory;
    std::ifstream file("/proc/meminfo");
    std::string key;
    std::size_t kib = 0;
    for (std::string rest; file >> key >> kib && std::getline(file, rest);) {
        if (key == "MemTotal:") memory.total_bytes = kib * 1024;
        if (key == "MemAvailable:") memory.available_bytes = kib * 1024;
    }
    return memory;
}

std::string cpu_name() {
    constexpr std::string_view key = "model name";
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with(key)) continue;
        const std::size_t value = line.find_first_not_of(" \t:", key.size());
        if (value != std::string::npos) return line.substr(value);
    }
    return "CPU";
}

}  // namespace vigil::host
