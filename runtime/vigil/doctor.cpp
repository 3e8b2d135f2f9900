// vigil doctor: what this machine and this binary can do together, and what stands in the way.
#include "host/cuda/doctor.h"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <string>
#include <vector>

#include "host/cuda/cublas.h"
#include "host/device.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/json.h"
#include "runtime/vigil/standard_output.h"

namespace vigil::program {
namespace {

// On the first GPU: the library is the same for all.
host::CublasReport probe_cublas() {
    if (host::cuda_device_count() == 0) return {false, "not looked for: no GPU to use it on"};
    try {
        const auto device = host::make_cuda_device(0);
        void* workspace = device->allocate(host::Cublas::kWorkspaceBytes);
        const host::Cublas cublas(host::Cublas::candidates(VIGIL_CUBLAS_MAJOR), device->launch_stream(), workspace,
                                  host::Cublas::kWorkspaceBytes);
        return {true, cublas.version()};
    } catch (const std::exception& e) {
        return {false, e.what()};
    }
}

const char* yes_no(bool value) {
    return value ? "yes" : "no";
}

bool any_stops(const std::vector<host::Finding>& findings) {
    return std::any_of(findings.begin(), findings.end(), [](const host::Finding& f) { return f.stops; });
}

// The GPUs that can run vigil.
std::vector<int> usable_gpus(const host::Diagnosis& d) {
    std::vector<int> indices;
    if (any_stops(d.findings)) return indices;
    for (const host::GpuReport& gpu : d.gpus)
        if (!any_stops(gpu.findings)) indices.push_back(gpu.index);
    return indices;
}

void add_findings(std::string& text, const std::vector<host::Finding>& findings, const char* indent) {
    for (const host::Finding& f : findings)
        text +=
            fmt::format("{}{}: {}\n{}  mend: {}\n", indent, f.stops ? "PROBLEM" : "note", f.problem, indent, f.mend);
}

std::string to_text(const host::Diagnosis& d) {
    std::string text = fmt::format("vigil {}\n", VIGIL_VERSION);
    text += fmt::format("CPU: {}, code in use: {}\n", d.cpu_name, d.cpu_isa);
    if (d.has_cuda) {
        text +=
            fmt::format("this binary: built with CUDA {}, code for {}\n", d.runtime_version, d.binary_architectures);
        text += fmt::format("driver: {}\n",
                            d.driver_version.empty() ? std::string("none") : "knows CUDA up to " + d.driver_version);
        text += fmt::format("cuBLAS: {}\n", d.cublas.text);
    } else {
        text += "this binary: built without CUDA\n";
    }
    for (const host::GpuReport& gpu : d.gpus) {
        text += fmt::format("GPU {}: {}, {}, {} multiprocessors, {} MiB\n", gpu.index, gpu.name, gpu.architecture,
                            gpu.multiprocessors, gpu.memory_bytes >> 20);
        text +=
            fmt::format("  code in this binary: {}; maps host memory: {}; watchdog: {}; compute mode: {}\n",
                        yes_no(gpu.runs_binary), yes_no(gpu.maps_host_memory), yes_no(gpu.watchdog), gpu.compute_mode);
        add_findings(text, gpu.findings, "  ");
    }
    add_findings(text, d.findings, "");
    const std::vector<int> usable = usable_gpus(d);
    if (usable.empty()) return text + "CUDA can't be used; vigil runs on the CPU (--device cpu)\n";
    return text + fmt::format("CUDA can be used, on GPU {}\n", fmt::join(usable, ", "));
}

Json to_json(const std::vector<host::Finding>& findings) {
    Json list = Json::array();
    for (const host::Finding& f : findings)
        list.push_back({{"stops", f.stops}, {"problem", f.problem}, {"mend", f.mend}});
    return list;
}

std::string to_json_text(const host::Diagnosis& d) {
    Json gpus = Json::array();
    for (const host::GpuReport& gpu : d.gpus)
        gpus.push_back({{"index", gpu.index},
                        {"name", gpu.name},
                        {"architecture", gpu.architecture},
                        {"multiprocessors", gpu.multiprocessors},
                        {"memory_bytes", gpu.memory_bytes},
                        {"runs_binary", gpu.runs_binary},
                        {"maps_host_memory", gpu.maps_host_memory},
                        {"watchdog", gpu.watchdog},
                        {"compute_mode", gpu.compute_mode},
                        {"findings", to_json(gpu.findings)}});
    return json_line({{"version", VIGIL_VERSION},
                      {"cpu", d.cpu_name},
                      {"cpu_isa", d.cpu_isa},
                      {"has_cuda", d.has_cuda},
                      {"binary_architectures", d.binary_architectures},
                      {"runtime_version", d.runtime_version},
                      {"driver_version", d.driver_version},
                      {"cublas", {{"found", d.cublas.found}, {"text", d.cublas.text}}},
                      {"gpus", std::move(gpus)},
                      {"findings", to_json(d.findings)},
                      {"usable_gpus", usable_gpus(d)}});
}

}  // namespace

Action add_doctor(CLI::App& app) {
    const auto json = std::make_shared<bool>(false);
    CLI::App& command =
        *app.add_subcommand("doctor", "Say what would keep vigil from using this machine's GPUs, and how to mend it");
    command.add_flag("--json", *json, "One JSON object");
    return [json] {
        const host::Diagnosis d = host::diagnose(probe_cublas);
        write_out(*json ? to_json_text(d) : to_text(d));
        return static_cast<int>(kSuccess);  // the CPU device runs everywhere
    };
}

}  // namespace vigil::program
