// How fast the device's memory can be read at best: what a token's time is held against.
#pragma once

#include <cstddef>

#include "host/device.h"

namespace vigil::bench {

// GB/s (10^9 bytes) of the best of several runs over `bytes` of random data on `device`: on a GPU plain 16-byte loads,
// and bulk copies where it has them; on the CPU one thread per core. The kernel must be parked. Throws DeviceError.
double read_ceiling(host::Device& device, std::size_t bytes);

}  // namespace vigil::bench
