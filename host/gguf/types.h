// Names for error messages: value types, and the tensor types of ggml that TensorType leaves out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "host/gguf/gguf.h"

namespace vigil::gguf {

// The byte width of a number or boolean; 0 for strings, arrays and unknown types.
std::uint32_t value_width(ValueType type) noexcept;

// "uint32"; "unknown" for a number that names no type.
std::string_view value_type_name(ValueType type) noexcept;

// "IQ2_XXS (16)", "unknown (77)": for numbers that find_type() does not know.
std::string describe_tensor_type(std::uint32_t type);

// The names of all types in TensorType, with commas.
std::string type_names();

}  // namespace vigil::gguf
