#include "tests/reference/test_device.h"

#include <cstdlib>
#include <stdexcept>

#include "tests/emulator/emulated_device.h"
#include "tests/reference/skip.h"

namespace vigil::reference {

std::string test_device_name() {
    const char* given = std::getenv("VIGIL_TEST_DEVICE");
    std::string name = given != nullptr ? given : "cpu";
    if (name != "cpu" && name != "emulator" && name != "cuda" && !name.starts_with("cuda:"))
        throw std::runtime_error("VIGIL_TEST_DEVICE is '" + name + "', not cpu, emulator, cuda or cuda:N");
    return name;
}

bool on_cuda() {
    return test_device_name().starts_with("cuda");
}

void skip_without_device() {
    if (on_cuda() && host::cuda_device_count() == 0)
        skip_program("VIGIL_TEST_DEVICE is " + test_device_name() + " but there is no CUDA device");
}

std::unique_ptr<host::Device> make_test_device() {
    skip_without_device();
    const std::string name = test_device_name();
    if (name == "cpu") return host::make_cpu_device(2);
    if (name == "emulator") return emulator::make_emulated_device(3);
    return host::make_cuda_device(name == "cuda" ? 0 : std::stoi(name.substr(5)));
}

host::Device& test_device() {
    static const std::unique_ptr<host::Device> device = make_test_device();
    return *device;
}

}  // namespace vigil::reference
