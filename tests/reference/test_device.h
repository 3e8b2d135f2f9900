// The device that tests run on: the one that $VIGIL_TEST_DEVICE names, cpu (the default), cuda, cuda:N or emulator (the
// Hopper path on three emulated multiprocessors, tests/emulator).
#pragma once

#include <memory>
#include <string>

#include "host/device.h"

namespace vigil::reference {

// Throws std::runtime_error if the variable says anything else.
std::string test_device_name();
bool on_cuda();

// Ends the program as skipped if the device is a GPU and there is none. Leaves no context on the GPU.
void skip_without_device();

// Both skip without the device. The CPU has two blocks where a test does not say how many: they keep a small machine
// busy and still need every exchange.
std::unique_ptr<host::Device> make_test_device();
host::Device& test_device();  // one per program

}  // namespace vigil::reference
