// What it takes to make a GPU do something: an ordinary launch, a graph of launches, and a job in the resident kernel's
// ring. Times are the host's, from before the first call until the answer is seen.
#include <benchmark/benchmark.h>
#include <cuda_runtime.h>
#include <filesystem>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include "bench/gpu.h"
#include "bench/synth/write_model.h"
#include "device/probes.h"
#include "host/cuda/handles.h"
#include "host/gguf/gguf.h"
#include "runtime/bench/rig.h"
#include "runtime/statistics.h"

namespace {

using vigil::bench::Rig;
using vigil::device::cuda::launch_empty;
using vigil::host::Device;
using vigil::host::Dispatch;

void launch_and_wait(benchmark::State& state) {
    Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    for (auto _ : state) {
        if (vigil::bench::failed(state, launch_empty(device->launch_stream()))) return;
        device->synchronize();
    }
}
BENCHMARK(launch_and_wait)->UseRealTime()->Unit(benchmark::kMicrosecond);

// state.range(0): kernels, one after the other, before the host waits. Time is that of all of them.
void launches_and_wait(benchmark::State& state) {
    Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    for (auto _ : state) {
        for (std::int64_t i = 0; i < state.range(0); ++i)
            if (vigil::bench::failed(state, launch_empty(device->launch_stream()))) return;
        device->synchronize();
    }
}
BENCHMARK(launches_and_wait)->Arg(83)->Arg(300)->UseRealTime()->Unit(benchmark::kMicrosecond);

std::unique_ptr<vigil::host::cuda::GraphExec> capture(cudaStream_t stream, std::int64_t n_kernels) {
    using vigil::host::cuda::check;
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    int error = 0;
    for (std::int64_t i = 0; i < n_kernels && error == 0; ++i) error = launch_empty(stream);
    check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    check(static_cast<cudaError_t>(error), "launch of an empty kernel");
    return std::make_unique<vigil::host::cuda::GraphExec>(graph);
}

void graph_and_wait(benchmark::State& state) {
    Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    using namespace vigil::host::cuda;
    const Stream stream(Stream::Priority::normal);
    const auto graph = capture(stream.get(), state.range(0));
    for (auto _ : state) {
        graph->launch(stream);
        stream.synchronize();
    }
}
BENCHMARK(graph_and_wait)->Arg(1)->Arg(83)->Arg(300)->UseRealTime()->Unit(benchmark::kMicrosecond);

// A model that is as small as one can be: what is left is submission.
struct Subject {
    explicit Subject(Device& device) : file(make_model()), model(file, device, 64), rig(device, model, {}) {}

    static vigil::gguf::File make_model() {
        const auto path =
            std::filesystem::temp_directory_path() / ("vigil-submission-" + std::to_string(getpid()) + ".gguf");
        vigil::synth::write_model(vigil::synth::preset("tiny"), path);
        auto file = vigil::gguf::File::open(path);
        std::filesystem::remove(path);  // the mapping keeps it
        return file;
    }

    vigil::gguf::File file;
    vigil::host::Model model;
    Rig rig;
};

// state.range(0): tokens of a job: with none, the kernel answers with the event that ends it. The other dispatches
// enqueue a whole token to see the job at all.
void job(benchmark::State& state, Dispatch dispatch) {
    Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    Subject subject(*device);
    subject.rig.start(dispatch);
    std::vector<double> us;
    for (auto _ : state) {
        const auto times = subject.rig.run(
            {.max_new_tokens = static_cast<std::int32_t>(state.range(0)), .sampling = {.temperature = 0.0f}});
        us.push_back(static_cast<double>(times.first_event.count()) / 1e3);
        state.SetIterationTime(us.back() / 1e6);
    }
    subject.rig.stop();
    state.counters["p50_us"] = vigil::percentile(us, 50);
    state.counters["p99_us"] = vigil::percentile(us, 99);
}

void tokens(benchmark::internal::Benchmark* benchmark) {
    benchmark->ArgName("tokens")->Arg(0)->Arg(1)->UseManualTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(job, persistent, Dispatch::persistent)->Apply(tokens);
BENCHMARK_CAPTURE(job, graph, Dispatch::graph)->Apply(tokens);
BENCHMARK_CAPTURE(job, launch, Dispatch::launch)->Apply(tokens);

}  // namespace

BENCHMARK_MAIN();
