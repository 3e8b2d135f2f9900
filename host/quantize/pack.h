// FP32 weights to the blocks of a tensor type: the way back of host/gguf/dequantize.h.
#pragma once

#include <cstddef>
#include <span>

#include "host/gguf/gguf.h"

namespace vigil::quantize {

// F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K can be packed; the other types only unpacked.
bool can_pack(gguf::TensorType type);

// Packs weights.size() weights, whole blocks of `type`, into `blocks`, which has their size. The quants are the nearest
// to the weights under scales of least squared error (fit.h); within that freedom the bytes differ from ggml's. Throws
// gguf::Error for a type that can't be packed, for sizes that don't fit each other, for a weight that is infinite or
// NaN, and for weights so large that their scale passes FP16's range (F16, BF16: that they do so themselves).
void pack(gguf::TensorType type, std::span<const float> weights, std::span<std::byte> blocks);

}  // namespace vigil::quantize
