// What `vigil doctor` tells: the GPUs, what this binary was built for, and what stands in the way, each with its mend.
// Works without a GPU, without a driver and in builds without CUDA.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace vigil::host {

struct Finding {
    bool stops = false;  // vigil can't run on this GPU until it is mended; otherwise it only costs something
    std::string problem;
    std::string mend;
};

struct GpuReport {
    int index = 0;
    std::string name;
    std::string architecture;  // "sm_90"
    int multiprocessors = 0;
    std::size_t memory_bytes = 0;
    bool runs_binary = false;  // this binary has code for it
    bool maps_host_memory = false;
    bool watchdog = false;
    std::string compute_mode;  // "default", "exclusive process", "prohibited"
    std::vector<Finding> findings;
};

struct CublasReport {
    bool found = false;
    std::string text;  // the version, or why it could not be opened
};

struct Diagnosis {
    bool has_cuda = false;             // in this build
    std::string binary_architectures;  // "sm_75 sm_80 sm_90"; empty without CUDA
    std::string runtime_version;       // of CUDA, "13.0"; empty without CUDA
    std::string driver_version;        // the newest CUDA the driver knows; empty without a driver
    CublasReport cublas;
    std::string cpu_name;
    std::string cpu_isa;  // of the CPU device's code in use
    std::vector<GpuReport> gpus;
    std::vector<Finding> findings;  // not about one GPU
};

// `probe_cublas` tries to open cuBLAS; without it the report is left empty.
Diagnosis diagnose(const std::function<CublasReport()>& probe_cublas = {});

}  // namespace vigil::host
