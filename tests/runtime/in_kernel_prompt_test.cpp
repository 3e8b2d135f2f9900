// How many prompt tokens are fed inside the kernel.
#include "runtime/in_kernel_prompt.h"

#include <doctest/doctest.h>

using namespace vigil;

namespace {

host::DeviceInfo gpu(const char* architecture) {
    host::DeviceInfo info;
    info.is_cuda = true;
    info.architecture = architecture;
    return info;
}

constexpr std::size_t kMega = 1'000'000;

}  // namespace

TEST_CASE("the fewer tokens are fed inside the kernel, the longer one takes") {
    CHECK(in_kernel_prompt(gpu("sm_90"), 0) == 16);
    CHECK(in_kernel_prompt(gpu("sm_90"), 270 * kMega) == 9);
    CHECK(in_kernel_prompt(gpu("sm_90"), 2470 * kMega) == 2);
    CHECK(in_kernel_prompt(gpu("sm_90"), 16000 * kMega) == 1);
    CHECK(in_kernel_prompt(gpu("sm_52"), 270 * kMega) == 2);
    CHECK(in_kernel_prompt(gpu("sm_52"), 2470 * kMega) == 1);
}

TEST_CASE("on the CPU the number does not depend on the model") {
    CHECK(in_kernel_prompt(host::DeviceInfo{}, 0) == in_kernel_prompt(host::DeviceInfo{}, 2470 * kMega));
}
