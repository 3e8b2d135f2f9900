// Whether a request can run on an engine.
#pragma once

#include "device/model.h"
#include "runtime/engine.h"

namespace vigil {

// Throws std::invalid_argument naming field and value. `logits_rows`: EngineOptions::logits_rows.
void validate(const Request& request, const device::ModelConfig& config, std::int32_t context_size,
              std::int32_t logits_rows);

}  // namespace vigil
