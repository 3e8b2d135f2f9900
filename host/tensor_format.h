// The names that the device has for the types of a file.
#pragma once

#include "device/model.h"
#include "host/gguf/gguf.h"

namespace vigil::host {

// The device's name for a file's type: the blocks are the same.
device::TensorFormat format_of(gguf::TensorType type);

}  // namespace vigil::host
