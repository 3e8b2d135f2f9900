// decode_latency: what a token takes and how long a job's way through the ring is, by dispatch, without the engine.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/latency/measure.h"
#include "bench/latency/read_ceiling.h"
#include "bench/latency/report.h"
#include "host/gguf/gguf.h"

namespace {

using vigil::bench::ModelFigures;
using vigil::bench::Rig;
using vigil::bench::RunContext;
using vigil::host::Device;
using vigil::host::Dispatch;

constexpr std::size_t kGibibyte = std::size_t{1} << 30;

struct Options {
    std::vector<std::string> models;
    std::string device = "cuda";
    int cpu_threads = 0;
    std::int32_t context = 0;
    std::vector<std::int32_t> depths{0, 512};
    std::int32_t n_tokens = 500;
    std::int32_t n_jobs = 2000;
    std::vector<Dispatch> dispatches{Dispatch::persistent, Dispatch::graph, Dispatch::launch};
    std::vector<int> blocks{0};
    bool greedy = true;
    bool json = false;
    double read_gib = 4;
    std::string json_file;
    std::string commit;
};

std::unique_ptr<Device> make_device(const Options& options) {
    if (options.device == "cpu") return vigil::host::make_cpu_device(options.cpu_threads);
    if (options.device == "cuda") return vigil::host::make_cuda_device(0);
    return vigil::host::make_cuda_device(std::stoi(options.device.substr(5)));
}

void measure(Rig& rig, const Options& options, ModelFigures& figures) {
    vigil::ring::SamplingParams sampling;
    if (options.greedy) sampling.temperature = 0.0f;
    for (const std::int32_t depth : options.depths)
        for (const Dispatch dispatch : options.dispatches) {
            figures.tokens.push_back(measure_tokens(rig, dispatch, depth, options.n_tokens, sampling));
            std::fprintf(stderr, "%s, %d blocks, depth %d, %s: %.4f ms/token\n", figures.model.c_str(),
                         figures.plan.n_blocks, depth, vigil::bench::name_of(dispatch), figures.tokens.back().ms.p50);
        }
    if (options.n_jobs == 0) return;
    for (const Dispatch dispatch : options.dispatches)
        figures.submits.push_back(measure_submit(rig, dispatch, options.n_jobs));
}

// What fails ends these measurements, not the run: the figures so far are kept.
ModelFigures measure_grid(const std::string& name, const vigil::host::Model& model, int n_blocks,
                          const Options& options, Device& device) {
    ModelFigures figures;
    figures.model = name;
    figures.weight_bytes = model.weight_bytes();
    try {
        Rig rig(device, model, n_blocks);
        figures.plan = rig.args().plan;
        measure(rig, options, figures);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "decode_latency: %s: %s\n", name.c_str(), error.what());
        figures.error = error.what();
    }
    return figures;
}

void measure_model(const std::string& path, const Options& options, Device& device, std::int32_t context,
                   std::vector<ModelFigures>& all) {
    const std::string name = std::filesystem::path(path).stem().string();
    try {
        const auto file = vigil::gguf::File::open(path);
        const vigil::host::Model model(file, device, context);
        for (const int n_blocks : options.blocks) all.push_back(measure_grid(name, model, n_blocks, options, device));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "decode_latency: %s\n", error.what());
        ModelFigures failed;
        failed.model = name;
        failed.error = error.what();
        all.push_back(std::move(failed));
    }
}

void add_options(CLI::App& app, Options& options) {
    static const std::map<std::string, Dispatch> kDispatches{
        {"persistent", Dispatch::persistent}, {"graph", Dispatch::graph}, {"launch", Dispatch::launch}};
    app.add_option("MODEL", options.models, "GGUF files")->required()->check(CLI::ExistingFile);
    app.add_option("--device", options.device, "cpu, cuda or cuda:N")
        ->capture_default_str()
        ->check(CLI::IsMember({"cpu", "cuda"}) |
                CLI::Validator(
                    [](std::string& text) {
                        const bool good = text.starts_with("cuda:") && text.size() > 5 &&
                                          text.find_first_not_of("0123456789", 5) == std::string::npos;
                        return good ? std::string{} : "'" + text + "' is not cpu, cuda or cuda:N";
                    },
                    "cuda:N"));
    app.add_option("--cpu-threads", options.cpu_threads, "Threads of the CPU device; 0: all cores");
    app.add_option("--ctx", options.context, "Positions in the KV cache; 0: what the deepest run needs");
    app.add_option("--depth", options.depths, "Positions in the cache before the first generated token")
        ->delimiter(',')
        ->check(CLI::NonNegativeNumber);
    app.add_option("--tokens", options.n_tokens, "Tokens to time")->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--jobs", options.n_jobs, "Jobs to time from submission on; 0: none")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--dispatch", options.dispatches, "persistent, graph, launch (default: all)")
        ->delimiter(',')
        ->transform(CLI::CheckedTransformer(kDispatches));
    app.add_option("--blocks", options.blocks, "Blocks of the grid; 0: the device's choice")
        ->delimiter(',')
        ->check(CLI::NonNegativeNumber);
    app.add_option_function<std::string>(
           "--sampling", [&](const std::string& name) { options.greedy = name == "greedy"; },
           "greedy, or default: the sampler's default parameters")
        ->check(CLI::IsMember({"greedy", "default"}));
    app.add_option_function<std::string>(
           "-o,--output", [&](const std::string& name) { options.json = name == "json"; }, "md (default) or json")
        ->check(CLI::IsMember({"md", "json"}));
    app.add_option("--json-file", options.json_file, "Write the report here too, as JSON");
    app.add_option("--read-gib", options.read_gib, "Memory to measure the read ceiling over, in GiB")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--commit", options.commit, "Commit to name in the report")->envname("VIGIL_COMMIT");
}

void run(const Options& options, RunContext& context, std::vector<ModelFigures>& models) {
    const auto device = make_device(options);
    const std::int32_t needed =
        std::ranges::max(options.depths) + std::max(options.n_tokens, vigil::bench::kWarmupTokens) + 2;
    context.context = options.context > 0 ? options.context : needed;
    if (context.context < needed)
        throw std::invalid_argument("--ctx " + std::to_string(options.context) + ": the deepest run needs " +
                                    std::to_string(needed) + " positions");
    context.device = device->info().name;
    context.architecture = device->info().architecture;
    context.commit = options.commit;
    context.sampling = options.greedy ? "greedy" : "default";
    const auto read_bytes = static_cast<std::size_t>(options.read_gib * static_cast<double>(kGibibyte));
    context.read_ceiling = vigil::bench::read_ceiling(*device, std::min(read_bytes, device->info().free_bytes / 2));
    std::fprintf(stderr, "%s: read ceiling %.0f GB/s\n", context.device.c_str(), context.read_ceiling);
    for (const std::string& model : options.models) measure_model(model, options, *device, context.context, models);
}

void write_reports(const Options& options, const RunContext& context, const std::vector<ModelFigures>& models) {
    std::fputs((options.json ? to_json(context, models) : to_markdown(context, models)).c_str(), stdout);
    if (options.json_file.empty()) return;
    std::ofstream file(options.json_file);
    file << to_json(context, models) << std::flush;
    if (!file) throw std::runtime_error("can't write '" + options.json_file + "'");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Times tokens by the device's clock and jobs by the host's, straight through the ring.");
    Options options;
    add_options(app, options);
    CLI11_PARSE(app, argc, argv);
    try {
        RunContext context = vigil::bench::read_context(argc, argv);
        std::vector<ModelFigures> models;
        run(options, context, models);
        write_reports(options, context, models);
        return std::ranges::all_of(models, [](const ModelFigures& m) { return m.error.empty(); }) ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "decode_latency: %s\n", error.what());
        return 1;
    }
}
