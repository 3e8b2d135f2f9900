// The escapes of string literals, as Python's unicode-escape codec reads them.
#pragma once

#include <string>
#include <string_view>

namespace vigil::jinja {

// What the text between the quotes stands for, as UTF-8. Throws Error for an escape that is cut short or names no code
// point.
std::string unescape(std::string_view body);

}  // namespace vigil::jinja
