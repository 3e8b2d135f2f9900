// Numbers out of text, and rounding, as Python does them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace vigil::jinja {

// int(text, base): white space around it, a sign, underscores between digits. Nothing for what is no integer. Throws
// Error for one beyond 64 bits.
std::optional<std::int64_t> parse_integer(std::string_view text, int base);
// float(text), including inf and nan.
std::optional<double> parse_float(std::string_view text);
// round(value, digits): the nearest, and of two the even one, in decimal.
double round_half_even(double value, int digits);

}  // namespace vigil::jinja
