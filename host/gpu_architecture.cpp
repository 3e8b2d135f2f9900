#include "host/gpu_architecture.h"

#include <charconv>

namespace vigil::host {
namespace {

bool one_runs_on(std::string_view name, int major, int minor) {
    constexpr std::string_view kMachineCode = "sm_";
    constexpr std::string_view kPtx = "compute_";
    const bool is_ptx = name.starts_with(kPtx);
    if (!is_ptx && !name.starts_with(kMachineCode)) return false;
    name.remove_prefix(is_ptx ? kPtx.size() : kMachineCode.size());

    int version = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), version);
    if (error != std::errc{}) return false;
    const int wanted = 10 * major + minor;
    if (end != name.data() + name.size()) return version == wanted;
    return version <= wanted && (is_ptx || version / 10 == major);
}

}  // namespace

bool runs_on(std::string_view carried, int major, int minor) {
    while (!carried.empty()) {
        const std::size_t space = carried.find(' ');
        if (one_runs_on(carried.substr(0, space), major, minor)) return true;
        if (space == std::string_view::npos) break;
        carried.remove_prefix(space + 1);
    }
    return false;
}

}  // namespace vigil::host
