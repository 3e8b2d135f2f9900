// A Hopper GPU of a few multiprocessors that the emulator plays, for tests: weights in tiles, the streaming kernel, no
// prefill.
#pragma once

#include <memory>

#include "host/device.h"

namespace vigil::emulator {

std::unique_ptr<host::Device> make_emulated_device(int multiprocessors);

}  // namespace vigil::emulator
