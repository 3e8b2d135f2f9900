// How many prompt tokens are fed one by one inside the kernel rather than by prefill.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/device.h"

namespace vigil {

// The most tokens before a prompt's last for which feeding them one by one, each for a pass over the weights, takes no
// longer than parking the kernel and one pass by launches. An estimate from the machine's kind and the weights' size
// alone, so that the same prompt is computed in the same way on every run.
std::int32_t in_kernel_prompt(const host::DeviceInfo& device, std::size_t weight_bytes);

}  // namespace vigil
