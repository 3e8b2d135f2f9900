// The tensors of a synthetic model: names, shapes, types and the spread of their values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/synth/model_spec.h"
#include "host/gguf/gguf.h"

namespace vigil::synth {

struct PlannedTensor {
    std::string name;
    gguf::TensorType type;
    std::vector<std::uint64_t> dims;  // columns first, as in the file
    // Random values, uniform around `mean`. Quantised types have mean 0 whatever this says.
    float mean = 0;
    float deviation = 0;          // their standard deviation
    std::vector<float> values{};  // if not empty: these and not random ones (F32)
};

// In the order they go to the file. `spec` is valid.
std::vector<PlannedTensor> plan_tensors(const ModelSpec& spec);

}  // namespace vigil::synth
