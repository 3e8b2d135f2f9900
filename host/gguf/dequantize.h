// Unpacking GGUF tensor blocks to FP32. The block layouts are ggml's (blocks.h).
#pragma once

#include <cstddef>
#include <span>

#include "host/gguf/float16.h"
#include "host/gguf/gguf.h"

namespace vigil::gguf {

// Unpacks out.size() weights, a multiple of the type's block, from the start of `blocks`.
// Throws gguf::Error for weights that are no whole blocks or when `blocks` is too short. Scales are taken as they are:
// finite.h finds those that are infinite or NaN.
// The results are those of ggml's reference, bit for bit: products and sums are rounded one by one, never fused.
void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<float> out);

}  // namespace vigil::gguf
