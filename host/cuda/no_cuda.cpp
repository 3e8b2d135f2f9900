// What a build without CUDA answers.
#include "device/launch.h"
#include "host/cpu/cpu_info.h"
#include "host/cuda/doctor.h"
#include "host/device.h"

namespace vigil::host {
namespace {

constexpr const char* kProblem = "this build has no CUDA";
constexpr const char* kMend =
    "install a CUDA toolkit and build again with scripts/build.sh (scripts/build.sh m40 for GPUs before sm_75), or use "
    "--device cpu";

}  // namespace

std::unique_ptr<Device> make_cuda_device(int) {
    throw DeviceError(std::string(kProblem) + "; " + kMend);
}

int cuda_device_count() noexcept {
    return 0;
}

Diagnosis diagnose(const std::function<CublasReport()>&) {
    Diagnosis d;
    d.cpu_name = cpu_name();
    d.cpu_isa = device::cpu::isa();
    d.findings.push_back({true, kProblem, kMend});
    return d;
}

}  // namespace vigil::host
