// The list of steps that take a chunk of prompt tokens through the model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/prefill_launch.h"

namespace vigil::host {

// All that is needed for the keys and values of every layer, and no more: the last layer ends once it has written its
// own. `layers` [n_layers] is the host's copy of weights.layers. The GEMM steps are plain products, so that a library
// can take their place one by one.
std::vector<device::PrefillStep> prefill_steps(const device::ModelConfig& config,
                                               std::span<const device::LayerWeights> layers,
                                               const device::PrefillBuffers& buffers, std::int32_t n_tokens);

}  // namespace vigil::host
