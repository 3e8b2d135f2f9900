// Showing a value from a file in an error message.
#pragma once

#include <string>
#include <string_view>

namespace vigil {

// 'value' as valid UTF-8 without control characters, cut off after 80 bytes: the file may hold anything.
std::string quoted(std::string_view value);

}  // namespace vigil
