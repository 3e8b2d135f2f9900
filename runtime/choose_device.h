// From a device's name on the command line to the device.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "host/device.h"

namespace vigil {

// `name`: cpu, cuda or cuda:N; "auto" is GPU 0 if it can be used, else the CPU, with the reason in `warn`.
// Throws host::DeviceError if the named device can't be used, or the name is none of these.
std::unique_ptr<host::Device> choose_device(std::string_view name, int cpu_threads,
                                            const std::function<void(const std::string&)>& warn);

}  // namespace vigil
