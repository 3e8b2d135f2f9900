// Which GPUs a binary can run on, from the names of the architectures that it carries.
#pragma once

#include <string_view>

namespace vigil::host {

// `carried` as device::cuda::architectures() gives it: "sm_75 sm_80 sm_90", "sm_52 compute_52". Machine code (sm_)
// runs on the same major version from its minor version up, PTX (compute_) on everything from its version up; a name
// that ends in a letter on exactly its version.
bool runs_on(std::string_view carried, int major, int minor);

}  // namespace vigil::host
