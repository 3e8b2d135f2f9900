// What a model asks of the Hopper path, and whether its matrices can be kept as that path wants them.
#pragma once

#include "device/model.h"
#include "host/gguf/gguf.h"

namespace vigil::host {

// The needs of a file's matrices in tiles; all zero if one of them does not fit into tiles. Shapes are not checked.
device::StreamNeeds stream_needs(const gguf::File& file, const device::ModelConfig& config);

}  // namespace vigil::host
