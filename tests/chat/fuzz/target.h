// What every rendering of any template must keep to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace vigil::test {

struct FuzzCounts {
    std::uint64_t executions = 0, parsed = 0, rendered = 0;
};

// Parses and renders `source` with a conversation full of traps, within small limits. An error of the template is
// fine; anything else ends the program with a message: an exception of another type, text that is no UTF-8, runs that
// do not cover the text, or text of a message that passes for the template's.
void check_template(std::string_view source, FuzzCounts& counts);

}  // namespace vigil::test
