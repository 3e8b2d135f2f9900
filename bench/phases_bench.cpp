// Single phases of a decode as ordinary launches: the matrix-vector products by model shape and tensor type, attention
// by context. The device is what $VIGIL_BENCH_DEVICE names (cpu, cuda, cuda:N), else a GPU if there is one; the shapes
// are the presets in $VIGIL_BENCH_PRESETS, the types those in $VIGIL_BENCH_TYPES, both separated by commas.
//
// A benchmark runs the phase of every layer in turn before it waits, so that a launch's latency and what the L2 cache
// keeps show little; on small shapes the rate of launches (about 2 µs each) is still the bound.
#include <benchmark/benchmark.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

#include "bench/synth/write_model.h"
#include "host/gguf/gguf.h"
#include "runtime/bench/rig.h"
#include "runtime/choose_device.h"

namespace {

using vigil::bench::Rig;
using vigil::device::LayerWeights;
using vigil::device::ModelConfig;
using vigil::device::Tensor;
using vigil::host::Device;
using vigil::ring::Phase;

constexpr std::int32_t kContexts[] = {0, 512, 4096, 16384};
constexpr std::int32_t kMaxSeqLen = 16384 + 8;
// A few layers are enough on the CPU, whose caches are small and whose time is not.
constexpr std::uint32_t kCpuLayers = 2;

Device& device() {
    static const std::unique_ptr<Device> instance = [] {
        const char* name = std::getenv("VIGIL_BENCH_DEVICE");
        return vigil::choose_device(name == nullptr ? "auto" : name, 0, {});
    }();
    return *instance;
}

std::vector<std::string> words(const char* variable, const std::string& otherwise) {
    const char* value = std::getenv(variable);
    std::istringstream text(value == nullptr ? otherwise : value);
    std::vector<std::string> list;
    for (std::string word; std::getline(text, word, ',');) list.push_back(word);
    return list;
}

struct Shape {
    std::string preset;
    std::string type;
    bool operator==(const Shape&) const = default;
};

vigil::gguf::File make_model(const Shape& shape) {
    vigil::synth::ModelSpec spec = vigil::synth::preset(shape.preset);
    spec.type = shape.type;
    if (!device().info().is_cuda) spec.n_layers = kCpuLayers;
    const auto path = std::filesystem::temp_directory_path() / ("vigil-phases-" + std::to_string(getpid()) + ".gguf");
    vigil::synth::write_model(spec, path);
    auto file = vigil::gguf::File::open(path);
    std::filesystem::remove(path);  // the mapping keeps it
    return file;
}

// A model with its KV cache; as many as fit would not fit, so there is one at a time.
struct Subject {
    explicit Subject(const Shape& the_shape)
        : shape(the_shape), file(make_model(shape)), model(file, device(), kMaxSeqLen) {
        layers.resize(static_cast<std::size_t>(model.config().n_layers));
        device().download(layers.data(), model.weights().layers, layers.size() * sizeof(LayerWeights));
    }

    Shape shape;
    vigil::gguf::File file;
    vigil::host::Model model;
    std::vector<LayerWeights> layers;
};

Subject& subject(const Shape& shape) {
    static std::unique_ptr<Subject> instance;
    if (!instance || !(instance->shape == shape)) {
        instance.reset();  // before the next one is made
        instance = std::make_unique<Subject>(shape);
    }
    return *instance;
}

// All steps of a token that run `phase`: one per layer, or one.
std::vector<std::int32_t> steps_of(const ModelConfig& config, Phase phase) {
    std::vector<std::int32_t> steps;
    for (std::int32_t step = 0; step < vigil::device::n_steps(config); ++step)
        if (vigil::device::step_at(config, step).phase == phase) steps.push_back(step);
    return steps;
}

std::int64_t bytes_of(const Tensor& t) {
    return static_cast<std::int64_t>(vigil::device::matrix_bytes(t));
}

// Bytes of weights that the phase reads in all its steps together.
std::int64_t weight_bytes(const Subject& s, Phase phase) {
    if (phase == Phase::kLogits) return bytes_of(s.model.weights().output);
    std::int64_t bytes = 0;
    for (const LayerWeights& w : s.layers) {
        if (phase == Phase::kQkv) bytes += bytes_of(w.wq) + bytes_of(w.wk) + bytes_of(w.wv);
        if (phase == Phase::kOutputProj) bytes += bytes_of(w.wo);
        if (phase == Phase::kGateUp) bytes += bytes_of(w.w_gate) + bytes_of(w.w_up);
        if (phase == Phase::kDown) bytes += bytes_of(w.w_down);
    }
    return bytes;
}

// Time per step. Returns how many there were.
std::int64_t run_phase(benchmark::State& state, const Subject& s, Phase phase, std::int32_t n_cached) {
    Rig rig(device(), s.model, {});
    rig.hold({.n_cached = n_cached, .max_new_tokens = 2, .sampling = {}});
    const std::vector<std::int32_t> steps = steps_of(s.model.config(), phase);
    std::int64_t n_steps = 0;
    while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(steps.size()))) {
        for (const std::int32_t step : steps) device().run_step(rig.args(), step);
        device().synchronize();
        n_steps += static_cast<std::int64_t>(steps.size());
    }
    return n_steps;
}

void gemv(benchmark::State& state, const Shape& shape, Phase phase) {
    const Subject& s = subject(shape);
    const std::int64_t n_steps = run_phase(state, s, phase, 0);
    const auto n_per_token = static_cast<std::int64_t>(steps_of(s.model.config(), phase).size());
    state.SetBytesProcessed(n_steps / n_per_token * weight_bytes(s, phase));
}

void attention(benchmark::State& state, const Shape& shape, std::int32_t n_cached) {
    const Subject& s = subject(shape);
    const std::int64_t n_steps = run_phase(state, s, Phase::kAttention, n_cached);
    const ModelConfig& c = s.model.config();
    const std::int64_t kv_bytes = 2 * std::int64_t{sizeof(std::uint16_t)} * c.n_kv_heads * c.head_dim * (n_cached + 1);
    state.SetBytesProcessed(n_steps * kv_bytes);
}

std::string joined(const std::vector<std::string>& parts) {
    std::string text = parts.front();
    for (std::size_t i = 1; i < parts.size(); ++i) text.append("/").append(parts[i]);
    return text;
}

// An error ends its benchmark, and is told there.
template <class Body>
void add(const std::vector<std::string>& path, const Body& body) {
    const std::string name = joined(path);
    benchmark::RegisterBenchmark(name.c_str(),
                                 [body](benchmark::State& state) {
                                     try {
                                         body(state);
                                     } catch (const std::exception& error) {
                                         state.SkipWithError(error.what());
                                     }
                                 })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
}

void register_all() {
    const bool gpu = device().info().is_cuda;
    const struct {
        const char* name;
        Phase phase;
    } products[] = {{"qkv", Phase::kQkv},
                    {"output_proj", Phase::kOutputProj},
                    {"gate_up", Phase::kGateUp},
                    {"down", Phase::kDown},
                    {"logits", Phase::kLogits}};
    const auto presets = words("VIGIL_BENCH_PRESETS", gpu ? "smollm2-135m,llama-3.2-1b" : "smollm2-135m");
    for (const std::string& preset : presets) {
        for (const std::string& type : words("VIGIL_BENCH_TYPES", gpu ? "F16,Q8_0,Q4_K_M" : "F16"))
            for (const auto& product : products)
                add({"gemv", preset, type, product.name}, [shape = Shape{preset, type}, phase = product.phase](
                                                              benchmark::State& state) { gemv(state, shape, phase); });
        for (const std::int32_t context : kContexts)
            add({"attention", preset, std::to_string(context)},
                [shape = Shape{preset, "F16"}, context](benchmark::State& state) { attention(state, shape, context); });
    }
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    try {
        register_all();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "phases_bench: %s\n", error.what());
        return 1;
    }
    benchmark::AddCustomContext("device", device().info().name);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
}
