// Metadata that both the configuration and the RoPE tables begin with.
#pragma once

#include <cstdint>
#include <string>

#include "host/gguf/gguf.h"

namespace vigil::host {

// general.architecture, if vigil runs it; else throws gguf::Error with the list of those it does.
std::string supported_architecture(const gguf::File& file);

// Positions the model was trained for.
std::int32_t context_length(const gguf::File& file, const std::string& architecture);

}  // namespace vigil::host
