// Ends a test program as skipped (CTest's SKIP_RETURN_CODE), with the reason on its last line.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace vigil::reference {

[[noreturn]] inline void skip_program(const std::string& reason) {
    std::printf("skipped: %s\n", reason.c_str());
    std::fflush(stdout);
    std::_Exit(77);
}

}  // namespace vigil::reference
