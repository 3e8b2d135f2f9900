// Which GPUs a binary runs on.
#include "host/gpu_architecture.h"

#include <doctest/doctest.h>

namespace vigil::host {
namespace {

TEST_CASE("machine code runs on its own major version, from its minor version up") {
    constexpr const char* carried = "sm_75 sm_80 sm_90";
    CHECK(runs_on(carried, 7, 5));
    CHECK(runs_on(carried, 8, 0));
    CHECK(runs_on(carried, 8, 9));
    CHECK(runs_on(carried, 9, 0));
    CHECK_FALSE(runs_on(carried, 7, 0));
    CHECK_FALSE(runs_on(carried, 5, 2));
    CHECK_FALSE(runs_on(carried, 10, 0));
}

TEST_CASE("PTX runs on everything from its version up") {
    constexpr const char* carried = "sm_52 compute_52";
    CHECK(runs_on(carried, 5, 2));
    CHECK(runs_on(carried, 9, 0));
    CHECK(runs_on(carried, 12, 0));
    CHECK_FALSE(runs_on(carried, 5, 0));
    CHECK_FALSE(runs_on(carried, 3, 5));
}

TEST_CASE("a version with a letter runs on itself only") {
    CHECK(runs_on("sm_90a", 9, 0));
    CHECK_FALSE(runs_on("compute_90a", 10, 0));
}

TEST_CASE("no code runs nowhere") {
    CHECK_FALSE(runs_on("", 9, 0));
    CHECK_FALSE(runs_on("none sm_x", 9, 0));
}

}  // namespace
}  // namespace vigil::host
