// Writing to standard output at once, with every failure seen.
#pragma once

#include <string_view>

namespace vigil::program {

// Writes all of it. Throws ClosedOutput when the reader has gone, and std::runtime_error for any other failure.
void write_out(std::string_view text);

}  // namespace vigil::program
