// Unpacking GGUF tensor blocks to FP32, and FP32 to the 16-bit formats. The block layouts are ggml's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "host/gguf/gguf.h"

namespace vigil::gguf {

// Unpacks out.size() weights, a multiple of the type's block, from the start of `blocks`.
// Throws gguf::Error for an unsupported type or when `blocks` is too short.
void dequantize(TensorType type, std::span<const std::byte> blocks, std::span<float> out);

float half_to_float(std::uint16_t half) noexcept;
std::uint16_t float_to_half(float value) noexcept;  // round to nearest even; overflow becomes infinity
float bfloat16_to_float(std::uint16_t bits) noexcept;
std::uint16_t float_to_bfloat16(float value) noexcept;

}  // namespace vigil::gguf
