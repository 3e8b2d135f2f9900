// What is said on standard error.
#pragma once

#include <cstdio>
#include <string>

namespace vigil::program {

// There is nobody to tell if standard error itself can't be written: that is never a failure of its own.
inline void say(const std::string& text) {
    std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
}

}  // namespace vigil::program
