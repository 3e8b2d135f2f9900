#include "host/cuda/doctor.h"

#include <cuda_runtime.h>
#include <fmt/format.h>

#include "device/launch.h"
#include "host/cpu/cpu_info.h"
#include "host/cuda/error.h"
#include "host/cuda/properties.h"
#include "host/gpu_architecture.h"

namespace vigil::host {
namespace {

std::string version_text(int version) {
    return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

void find_driver_problems(Diagnosis& d, int driver, cudaError_t counted) {
    if (driver == 0) {
        d.findings.push_back({true, "no NVIDIA driver is loaded",
                              "install the driver and load it (nvidia-smi must list the GPU), or use --device cpu"});
    } else if (counted == cudaErrorInsufficientDriver) {
        d.findings.push_back({true,
                              fmt::format("the driver knows CUDA up to {}, this binary was built with {}",
                                          version_text(driver), d.runtime_version),
                              "install a newer driver, or build with an older CUDA toolkit"});
    } else if (counted == cudaErrorNoDevice) {
        d.findings.push_back(
            {true, "the driver sees no GPU", "check CUDA_VISIBLE_DEVICES and that the machine or container has a GPU"});
    } else if (counted != cudaSuccess) {
        d.findings.push_back({true, "asking for the GPUs failed: " + cuda::describe(counted),
                              "check with nvidia-smi; a reboot mends a driver that was updated underneath"});
    }
}

GpuReport report_gpu(int index) {
    GpuReport gpu;
    gpu.index = index;
    cuda::Properties p;
    try {
        p = cuda::read_properties(index);
    } catch (const DeviceError& e) {
        gpu.findings.push_back({true, e.what(), "check the GPU with nvidia-smi"});
        return gpu;
    }
    gpu.name = p.name;
    gpu.architecture = p.architecture();
    gpu.multiprocessors = p.multiprocessors;
    gpu.memory_bytes = p.memory_bytes;
    gpu.runs_binary = runs_on(device::cuda::architectures(), p.major, p.minor);
    gpu.maps_host_memory = p.can_map_host_memory && p.unified_addressing;
    gpu.watchdog = p.watchdog;
    gpu.compute_mode = p.prohibited ? "prohibited" : p.exclusive ? "exclusive process" : "default";

    if (!gpu.runs_binary)
        gpu.findings.push_back(
            {true, fmt::format("this binary has no code for {}", gpu.architecture),
             "build with a CUDA toolkit that knows it: scripts/build.sh, or scripts/build.sh m40 for "
             "GPUs before sm_75"});
    if (!gpu.maps_host_memory)
        gpu.findings.push_back({true, "the GPU can't use host memory at the host's addresses", "use another GPU"});
    if (p.prohibited) gpu.findings.push_back({true, "the compute mode is 'prohibited'", "nvidia-smi -c DEFAULT"});
    if (p.exclusive)
        gpu.findings.push_back({false, "the compute mode lets one process at a time use the GPU",
                                "nvidia-smi -c DEFAULT, if vigil is to share it"});
    if (p.watchdog)
        gpu.findings.push_back(
            {false,
             "a display is attached: the driver may end kernels that run for some seconds, so a resident one too",
             "run the display on another GPU, or use --dispatch graph"});
    return gpu;
}

}  // namespace

Diagnosis diagnose(const std::function<CublasReport()>& probe_cublas) {
    cuda::prepare_environment();
    Diagnosis d;
    d.has_cuda = true;
    d.binary_architectures = device::cuda::architectures();
    d.cpu_name = cpu_name();
    d.cpu_isa = device::cpu::isa();

    int driver = 0;
    cudaDriverGetVersion(&driver);  // leaves 0 without a driver
    d.runtime_version = version_text(CUDART_VERSION);
    if (driver != 0) d.driver_version = version_text(driver);

    int count = 0;
    const cudaError_t counted = cudaGetDeviceCount(&count);
    cudaGetLastError();
    find_driver_problems(d, driver, counted);
    if (counted == cudaSuccess)
        for (int i = 0; i < count; ++i) d.gpus.push_back(report_gpu(i));

    if (probe_cublas) {
        d.cublas = probe_cublas();
        if (!d.cublas.found && !d.gpus.empty())
            d.findings.push_back({false, "cuBLAS can't be opened: " + d.cublas.text + "; prompts are read more slowly",
                                  "install the cuBLAS library of this CUDA version"});
    }
    return d;
}

}  // namespace vigil::host
