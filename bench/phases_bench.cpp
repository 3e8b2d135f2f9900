// One phase of a decode at a time, as an ordinary launch: Google Benchmark over shapes of a SmolLM2-135M layer.
// The device is what $VIGIL_BENCH_DEVICE names, cpu (the default) or cuda.
#include <benchmark/benchmark.h>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <unistd.h>

#include "bench/latency/rig.h"
#include "bench/synth/write_model.h"
#include "host/gguf/gguf.h"

namespace {

using vigil::bench::Rig;
using vigil::host::Device;
using vigil::ring::Phase;

constexpr std::int32_t kMaxSeqLen = 4200;

// A few layers are enough for every phase, and little enough to be there at once.
vigil::gguf::File make_model() {
    vigil::synth::ModelSpec spec = vigil::synth::preset("smollm2-135m");
    spec.n_layers = 2;
    const auto path =
        std::filesystem::temp_directory_path() / ("vigil-phases-bench-" + std::to_string(getpid()) + ".gguf");
    vigil::synth::write_model(spec, path);
    auto file = vigil::gguf::File::open(path);
    std::filesystem::remove(path);  // the mapping keeps it
    return file;
}

std::unique_ptr<Device> make_device() {
    const char* name = std::getenv("VIGIL_BENCH_DEVICE");
    if (name != nullptr && std::string(name) == "cuda") return vigil::host::make_cuda_device(0);
    return vigil::host::make_cpu_device();
}

struct Subject {
    vigil::gguf::File file = make_model();
    std::unique_ptr<Device> device = make_device();
    vigil::host::Model model{file, *device, kMaxSeqLen};
};

Subject& subject() {
    static Subject instance;
    return instance;
}

// The first step of a token that runs `phase`.
std::int32_t step_of(const vigil::device::ModelConfig& config, Phase phase) {
    std::int32_t step = 0;
    while (vigil::device::step_at(config, step).phase != phase) ++step;
    return step;
}

// state.range(0): positions in the KV cache.
void run_phase(benchmark::State& state, Phase phase) {
    Subject& s = subject();
    Rig rig(*s.device, s.model, 0);
    rig.hold({.n_cached = static_cast<std::int32_t>(state.range(0)), .max_new_tokens = 2, .sampling = {}});
    const std::int32_t step = step_of(s.model.config(), phase);
    for (auto _ : state) {
        s.device->run_step(rig.args(), step);
        s.device->synchronize();
    }
}

// Bytes of weights that a phase reads.
std::int64_t weight_bytes(Phase phase) {
    const auto& c = subject().model.config();
    const std::int64_t dim = c.dim;
    const std::int64_t head_rows = std::int64_t{c.n_heads} * c.head_dim;
    const std::int64_t kv_rows = std::int64_t{c.n_kv_heads} * c.head_dim;
    switch (phase) {
        case Phase::kQkv:
            return 2 * dim * (head_rows + 2 * kv_rows);
        case Phase::kOutputProj:
            return 2 * dim * head_rows;
        case Phase::kGateUp:
            return 4 * dim * c.ffn_dim;
        case Phase::kDown:
            return 2 * dim * c.ffn_dim;
        case Phase::kLogits:
            return 2 * dim * c.vocab_size;
        default:
            return 0;
    }
}

void gemv(benchmark::State& state, Phase phase) {
    run_phase(state, phase);
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * weight_bytes(phase));
}

void attention(benchmark::State& state) {
    run_phase(state, Phase::kAttention);
    const auto& c = subject().model.config();
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * 4 * c.n_kv_heads * c.head_dim *
                            (state.range(0) + 1));
}

BENCHMARK_CAPTURE(gemv, qkv, Phase::kQkv)->Arg(0)->UseRealTime();
BENCHMARK_CAPTURE(gemv, output_proj, Phase::kOutputProj)->Arg(0)->UseRealTime();
BENCHMARK_CAPTURE(gemv, gate_up, Phase::kGateUp)->Arg(0)->UseRealTime();
BENCHMARK_CAPTURE(gemv, down, Phase::kDown)->Arg(0)->UseRealTime();
BENCHMARK_CAPTURE(gemv, logits, Phase::kLogits)->Arg(0)->UseRealTime();
BENCHMARK(attention)->Arg(0)->Arg(512)->Arg(4096)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
