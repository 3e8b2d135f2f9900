// Devices by name, and names that are none.
#include "runtime/choose_device.h"

#include <doctest/doctest.h>

using namespace vigil;

TEST_CASE("a device is chosen by its name") {
    CHECK(!choose_device("cpu", 1, {})->info().is_cuda);
    CHECK(choose_device("cpu", 3, {})->info().multiprocessors == 3);
    CHECK(choose_device("auto", 1, {})->info().is_cuda == (host::cuda_device_count() > 0));
}

TEST_CASE("a name that no device has is refused by name") {
    for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CPU"}) {
        CAPTURE(name);
        std::string error;
        try {
            choose_device(name, 1, {});
        } catch (const host::DeviceError& e) {
            error = e.what();
        }
        CHECK(error == "device '" + std::string(name) + "' is none of auto, cuda, cuda:N, cpu");
    }
}

TEST_CASE("a GPU that is not there is refused") {
    CHECK_THROWS_AS(choose_device("cuda:99", 1, {}), host::DeviceError);
}
