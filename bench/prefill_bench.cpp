// prefill_bench: what the prompt of a model takes, as a whole, step by step and to the first token; and how far the
// keys and values of each way to compute them are from those in FP32.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/prefill/step_clock.h"
#include "host/gguf/float16.h"
#include "host/gguf/gguf.h"
#include "host/model.h"
#include "host/prefill.h"
#include "host/workspace.h"
#include "runtime/engine.h"

namespace {

using vigil::bench::StepClock;
using vigil::device::KernelArgs;
using vigil::device::PrefillOp;
using vigil::device::PrefillStep;
using vigil::host::Device;
using vigil::host::PrefillOptions;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

// The ways to compute a prefill, by name.
const std::map<std::string, PrefillOptions> kWays{
    {"cublas", {.use_cublas = true, .use_tensor_cores = true}},
    {"cublas-portable", {.use_cublas = true, .use_tensor_cores = false}},  // without the kernels for sm_80
    {"own", {.use_cublas = false, .use_tensor_cores = true}},
    {"fp32", {.use_cublas = false, .use_tensor_cores = false}},
};

struct Options {
    std::vector<std::string> models;
    std::string device = "cuda";
    int cpu_threads = 0;
    std::vector<std::string> ways{"cublas", "own"};
    std::vector<std::int32_t> tokens{32, 128, 512, 2048, 4096};
    std::vector<std::int32_t> chunks{0};
    std::int32_t depth = 0;
    int repetitions = 10;
    std::int32_t check_tokens = 512;
    std::vector<std::int32_t> first_token{512};
    std::string json_file;
    std::string commit;
};

std::string utc_date() {
    const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    std::tm utc{};
    gmtime_r(&now, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%FT%TZ", &utc);
    return text;
}

double ms_since(Clock::time_point begin) {
    return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

std::unique_ptr<Device> make_device(const Options& options) {
    if (options.device == "cpu") return vigil::host::make_cpu_device(options.cpu_threads);
    return vigil::host::make_cuda_device(0);
}

std::vector<std::int32_t> random_tokens(std::int32_t n, std::int32_t vocab_size, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<std::int32_t> any(0, vocab_size - 1);
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(n));
    std::ranges::generate(tokens, [&] { return any(random); });
    return tokens;
}

std::string name_of(const PrefillStep& step) {
    switch (step.op) {
        case PrefillOp::kEmbed:
            return "embed";
        case PrefillOp::kNorm:
            return "norm";
        case PrefillOp::kGemm:
            return fmt::format("gemm {}x{}", step.gemm.w.rows, step.gemm.w.cols);
        case PrefillOp::kRopeAppend:
            return "rope_append";
        case PrefillOp::kAttention:
            return "attention";
        case PrefillOp::kSwiglu:
            return "swiglu";
        case PrefillOp::kUnpack:
            return "unpack";
    }
    return "?";
}

double gemm_flops(const PrefillStep& step) {
    if (step.op != PrefillOp::kGemm) return 0.0;
    return 2.0 * static_cast<double>(step.gemm.w.rows) * static_cast<double>(step.gemm.w.cols) *
           static_cast<double>(step.gemm.n_tokens);
}

// One way and chunk: how long it takes to make, to run the first time, later, and each of its steps.
Json measure_way(Device& device, const KernelArgs& args, const std::string& way, std::int32_t chunk,
                 const Options& options) {
    const auto& config = args.config;
    PrefillOptions prefill_options = kWays.at(way);
    prefill_options.chunk = chunk;
    prefill_options.on_warning = [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };
    auto begin = Clock::now();
    auto prefill = vigil::host::make_prefill(device, args, prefill_options);
    Json json{{"way", way}, {"gemm", prefill->gemm_name()}, {"chunk", chunk}, {"make_ms", ms_since(begin)}};
    json["runs"] = Json::array();
    std::vector<Json> rows;
    for (const std::int32_t n : options.tokens) {
        const auto tokens = random_tokens(n, config.vocab_size, 1);
        begin = Clock::now();
        prefill->run(tokens, options.depth);
        const double first = ms_since(begin);
        std::vector<double> ms;
        for (int i = 0; i < options.repetitions; ++i) {
            begin = Clock::now();
            prefill->run(tokens, options.depth);
            ms.push_back(ms_since(begin));
        }
        rows.push_back({{"tokens", n},
                        {"first_ms", first},
                        {"ms_p50", median(ms)},
                        {"ms_min", *std::ranges::min_element(ms)},
                        {"tokens_per_s", static_cast<double>(n) / median(ms) * 1e3}});
    }
    prefill.reset();

    StepClock clock(device);
    double flops = 0.0;
    prefill_options.on_step = [&](const PrefillStep* step) {
        clock.mark(step != nullptr ? name_of(*step) : "");
        if (step != nullptr) flops += gemm_flops(*step);
    };
    prefill = vigil::host::make_prefill(device, args, prefill_options);
    for (Json& row : rows) {
        const auto tokens = random_tokens(row["tokens"], config.vocab_size, 1);
        prefill->run(tokens, options.depth);
        clock.take();
        flops = 0.0;
        prefill->run(tokens, options.depth);
        std::map<std::string, double> sums;
        for (const auto& [name, ms] : clock.take()) sums[name] += ms;
        row["gemm_tflop"] = flops * 1e-12;
        row["steps_ms"] = sums;
        std::fprintf(stderr, "%s, chunk %d, %d tokens: first %.2f, p50 %.3f ms;", way.c_str(), chunk,
                     row["tokens"].get<int>(), row["first_ms"].get<double>(), row["ms_p50"].get<double>());
        double gemm_ms = 0.0;
        for (const auto& [name, ms] : sums) {
            std::fprintf(stderr, " %s %.3f", name.c_str(), ms);
            if (name.starts_with("gemm")) gemm_ms += ms;
        }
        row["gemm_tflop_per_s"] = flops * 1e-9 / gemm_ms;
        std::fprintf(stderr, "; GEMM %.0f TFLOP/s\n", flops * 1e-9 / gemm_ms);
        json["runs"].push_back(row);
    }
    return json;
}

// Keys and values of the first `n` positions, layer by layer.
struct Cache {
    std::vector<std::uint16_t> keys, values;
};

Cache run_and_read(Device& device, const KernelArgs& args, const std::string& way, std::int32_t chunk, std::int32_t n) {
    const auto& c = args.config;
    PrefillOptions prefill_options = kWays.at(way);
    prefill_options.chunk = chunk;
    vigil::host::make_prefill(device, args, prefill_options)->run(random_tokens(n, c.vocab_size, 2), 0);
    const std::size_t head = static_cast<std::size_t>(n) * static_cast<std::size_t>(c.head_dim);
    const auto heads = static_cast<std::size_t>(c.n_layers) * static_cast<std::size_t>(c.n_kv_heads);
    const std::size_t stride = static_cast<std::size_t>(c.max_seq_len) * static_cast<std::size_t>(c.head_dim);
    Cache cache;
    cache.keys.resize(heads * head);
    cache.values.resize(heads * head);
    for (std::size_t h = 0; h < heads; ++h) {
        device.download(cache.keys.data() + h * head, args.kv.k + h * stride, 2 * head);
        device.download(cache.values.data() + h * head, args.kv.v + h * stride, 2 * head);
    }
    return cache;
}

// Root of the mean square of the difference over that of the reference, for the worst layer.
double worst_layer(const std::vector<std::uint16_t>& got, const std::vector<std::uint16_t>& expected,
                   std::int32_t n_layers) {
    const std::size_t per_layer = got.size() / static_cast<std::size_t>(n_layers);
    double worst = 0.0;
    for (std::size_t layer = 0; layer < static_cast<std::size_t>(n_layers); ++layer) {
        double squares = 0.0;
        double reference = 0.0;
        for (std::size_t i = layer * per_layer; i < (layer + 1) * per_layer; ++i) {
            const auto a = static_cast<double>(vigil::gguf::half_to_float(got[i]));
            const auto b = static_cast<double>(vigil::gguf::half_to_float(expected[i]));
            squares += (a - b) * (a - b);
            reference += b * b;
        }
        const double error = std::sqrt(squares / reference);
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

// Every way against the FP32 one, and the FP16 one of ours against itself in other chunks, whose bits must be the same.
Json check(Device& device, const KernelArgs& args, const Options& options) {
    Json json = Json::array();
    const std::int32_t n = options.check_tokens;
    const std::int32_t n_layers = args.config.n_layers;
    const Cache reference = run_and_read(device, args, "fp32", 512, n);
    for (const std::string& way : options.ways) {
        const Cache cache = run_and_read(device, args, way, 4096, n);
        const double keys = worst_layer(cache.keys, reference.keys, n_layers);
        const double values = worst_layer(cache.values, reference.values, n_layers);
        Json row{{"way", way}, {"tokens", n}, {"worst_layer_keys_rms", keys}, {"worst_layer_values_rms", values}};
        if (way == "own") {
            const Cache cut = run_and_read(device, args, way, 96, n);
            row["same_bits_in_other_chunks"] = cut.keys == cache.keys && cut.values == cache.values;
        }
        std::fprintf(stderr, "check: %s\n", row.dump().c_str());
        json.push_back(row);
    }
    return json;
}

// From submission to the first token, through the engine, kernel resident before: with prefill, park and resume.
Json measure_first_token(const std::string& path, const Options& options) {
    vigil::EngineOptions engine_options;
    engine_options.device = options.device;
    engine_options.cpu_threads = options.cpu_threads;
    engine_options.ctx_size = std::ranges::max(options.first_token) + 64;
    engine_options.on_warning = [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };
    auto begin = Clock::now();
    auto engine = vigil::Engine::load(path, engine_options);
    Json json{{"load_ms", ms_since(begin)}, {"runs", Json::array()}};
    for (const std::int32_t n : options.first_token) {
        std::vector<double> first_ms, prompt_ms;
        for (int i = 0; i <= options.repetitions; ++i) {
            vigil::Request request;
            request.prompt = random_tokens(n, engine.config().vocab_size, static_cast<unsigned>(i + 10));
            request.max_new_tokens = 4;
            request.ignore_eos = true;
            request.sampling.temperature = 0.0f;
            begin = Clock::now();
            auto generation = engine.submit(request);
            if (!generation.next()) throw std::runtime_error("no first token: " + generation.error());
            first_ms.push_back(ms_since(begin));
            while (generation.next()) {
            }
            prompt_ms.push_back(generation.statistics().prefill_ms);
        }
        Json row{{"tokens", n}, {"first_request_ms", first_ms.front()}};
        first_ms.erase(first_ms.begin());
        row["ms_p50"] = median(first_ms);
        row["ms_max"] = *std::ranges::max_element(first_ms);
        row["prompt_ms_p50"] = median(prompt_ms);
        std::fprintf(stderr, "first token: %s\n", row.dump().c_str());
        json["runs"].push_back(row);
    }
    return json;
}

Json measure_model(const std::string& path, const Options& options) {
    Json json{{"model", std::filesystem::path(path).stem().string()}};
    {
        const auto device = make_device(options);
        const auto file = vigil::gguf::File::open(path);
        const std::int32_t context = options.depth + std::max(std::ranges::max(options.tokens), options.check_tokens);
        const vigil::host::Model model(file, *device, context);
        vigil::host::Workspace workspace(*device, model.config(), device->plan(model.config()));
        KernelArgs args;
        args.weights = model.weights();
        workspace.fill(args);
        if (options.depth > 0)
            vigil::host::make_prefill(*device, args, {})
                ->run(random_tokens(options.depth, model.config().vocab_size, 3), 0);
        json["weight_bytes"] = model.weight_bytes();
        json["context"] = context;
        json["depth"] = options.depth;
        json["ways"] = Json::array();
        for (const std::string& way : options.ways)
            for (std::int32_t chunk : options.chunks) {
                if (chunk == 0) chunk = vigil::host::prefill_chunk(*device, model.config());
                json["ways"].push_back(measure_way(*device, args, way, chunk, options));
            }
        if (options.check_tokens > 0) json["check"] = check(*device, args, options);
    }
    if (!options.first_token.empty() && options.first_token.front() > 0)
        json["first_token"] = measure_first_token(path, options);
    return json;
}

void add_options(CLI::App& app, Options& options) {
    app.add_option("MODEL", options.models, "GGUF files")->required()->check(CLI::ExistingFile);
    app.add_option("--device", options.device, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}));
    app.add_option("--cpu-threads", options.cpu_threads, "Threads of the CPU device; 0: all cores");
    std::vector<std::string> ways;
    for (const auto& [name, _] : kWays) ways.push_back(name);
    app.add_option("--ways", options.ways, "cublas, cublas-portable, own, fp32")
        ->delimiter(',')
        ->check(CLI::IsMember(ways));
    app.add_option("--tokens", options.tokens, "Lengths of prompts")->delimiter(',')->check(CLI::PositiveNumber);
    app.add_option("--chunks", options.chunks, "Tokens per pass over the weights; 0: the device's choice")
        ->delimiter(',')
        ->check(CLI::NonNegativeNumber);
    app.add_option("--depth", options.depth, "Positions in the cache before the prompt")->check(CLI::NonNegativeNumber);
    app.add_option("--repetitions", options.repetitions, "Runs of each")->check(CLI::PositiveNumber);
    app.add_option("--check", options.check_tokens, "Tokens of the comparison with FP32; 0: none")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--first-token", options.first_token, "Lengths of prompts through the engine; 0: none")
        ->delimiter(',')
        ->check(CLI::NonNegativeNumber);
    app.add_option("--json-file", options.json_file, "Write the report here instead of to standard output");
    app.add_option("--commit", options.commit, "Commit to name in the report")->envname("VIGIL_COMMIT");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Times the prefill of prompts and compares what it leaves with FP32.");
    Options options;
    add_options(app, options);
    CLI11_PARSE(app, argc, argv);
    try {
        std::string command;
        for (int i = 0; i < argc; ++i) command += fmt::format("{}{}", i > 0 ? " " : "", argv[i]);
        Json json{{"date", utc_date()},
                  {"commit", options.commit},
                  {"command", command},
                  {"device", make_device(options)->info().name},
                  {"built_for", vigil::device::cuda::architectures()},
                  {"models", Json::array()}};
        for (const std::string& model : options.models) json["models"].push_back(measure_model(model, options));
        if (options.json_file.empty()) {
            std::puts(json.dump(1).c_str());
            return 0;
        }
        std::ofstream file(options.json_file);
        file << json.dump(1) << '\n' << std::flush;
        if (!file) throw std::runtime_error("can't write '" + options.json_file + "'");
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "prefill_bench: %s\n", error.what());
        return 1;
    }
}
