// Reading a tokenizer's description out of a GGUF file's metadata.
#pragma once

#include "host/gguf/gguf.h"
#include "host/tokenizer/spec.h"

namespace vigil {

// Copies tokenizer.ggml.*. Throws gguf::Error for a key of the wrong type, or one without which there is no tokenizer.
TokenizerSpec read_tokenizer_spec(const gguf::File& file);

}  // namespace vigil
