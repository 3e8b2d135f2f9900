// Writes a synthetic model as a GGUF file that vigil and llama.cpp can load.
#pragma once

#include <filesystem>

#include "bench/synth/model_spec.h"

namespace vigil::synth {

// The file depends on `spec` alone, not on `threads`; 0 threads means one per processor.
// Throws Error for a model that cannot be and gguf::Error for a file that cannot be written.
void write_model(const ModelSpec& spec, const std::filesystem::path& path, unsigned threads = 0);

}  // namespace vigil::synth
