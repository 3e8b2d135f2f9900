// How long tests wait. What they wait for comes within moments on an idle machine, and must come on a busy one too, in
// instrumented code too: only a program that hangs may use such a time up.
#pragma once

#include <chrono>

namespace vigil::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kInstrumented = true;
#else
inline constexpr bool kInstrumented = false;
#endif

// How many times longer instrumented code may take.
inline constexpr int kSlowdown = kInstrumented ? 5 : 1;
inline constexpr std::chrono::seconds kPatience{60 * kSlowdown};

}  // namespace vigil::test
