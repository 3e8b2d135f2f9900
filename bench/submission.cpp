// What it takes to make a GPU do something: an ordinary launch, a graph of launches, a job in the resident kernel's
// ring, and a request to an engine. Times are the host's, from before the first call until the answer is seen. And what
// the kernel's looks at the host's words cost, by the device's clock.
#include <benchmark/benchmark.h>
#include <chrono>
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
#include "ringbuf/ordering.h"
#include "runtime/bench/rig.h"
#include "runtime/engine.h"
#include "runtime/statistics.h"

namespace {

using vigil::bench::Rig;
using vigil::device::cuda::launch_empty;
using vigil::host::Device;
using vigil::host::Dispatch;

// Of the times of single iterations, in µs; none if the first one failed.
void report_percentiles(benchmark::State& state, const std::vector<double>& us) {
    if (us.empty()) return;
    state.counters["p50_us"] = vigil::percentile(us, 50);
    state.counters["p99_us"] = vigil::percentile(us, 99);
}

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

// state.range(0): words; state.range(1): 8-byte words from one to the next, 16 for a line each.
void look(benchmark::State& state, vigil::device::cuda::LookForm form, bool at_host) {
    Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    vigil::device::cuda::LookProbe probe;
    probe.form = form;
    probe.n_words = static_cast<std::int32_t>(state.range(0));
    probe.stride = static_cast<std::int32_t>(state.range(1));
    probe.n_rounds = 1000;
    constexpr std::size_t kWords = std::size_t{16} * vigil::device::cuda::kMaxLookedAt;
    const vigil::bench::DeviceArray<std::uint64_t> on_device(*device, kWords);
    const vigil::bench::DeviceArray<std::uint64_t> elapsed(*device, 1);
    void* const at_hosts = device->allocate_pinned(kWords * sizeof(std::uint64_t));
    probe.words = at_host ? static_cast<const std::uint64_t*>(at_hosts) : on_device.get();
    probe.elapsed_ns = elapsed.get();
    for (auto _ : state) {
        if (vigil::bench::failed(state, launch_looks(probe, device->launch_stream()))) break;
        device->synchronize();
        state.SetIterationTime(static_cast<double>(elapsed.first()) * 1e-9 / probe.n_rounds);
    }
    device->release_pinned(at_hosts);
}
void words_and_strides(benchmark::internal::Benchmark* benchmark) {
    benchmark->ArgNames({"words", "stride"})
        ->ArgsProduct({{1, 2, 4, 8, 16}, {1, 4, 16}})
        ->UseManualTime()
        ->Iterations(5)
        ->Unit(benchmark::kNanosecond);
}
using vigil::device::cuda::LookForm;
BENCHMARK_CAPTURE(look, thread_at_host, LookForm::one_thread, true)->Apply(words_and_strides);
BENCHMARK_CAPTURE(look, lanes_at_host, LookForm::lanes, true)->Apply(words_and_strides);
BENCHMARK_CAPTURE(look, thread_on_device, LookForm::one_thread, false)->Apply(words_and_strides);
BENCHMARK_CAPTURE(look, lanes_on_device, LookForm::lanes, false)->Apply(words_and_strides);

// The floor of `job` without a token: a kernel that does nothing but look and answer. The pauses between rounds differ,
// so that they do not go in step with its looks.
void answer(benchmark::State& state) {
    Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::milliseconds kPatience{500};
    constexpr std::size_t kWords = vigil::device::cuda::kMaxLookedAt;
    void* const pinned = device->allocate_pinned((kWords + 16) * sizeof(std::uint64_t));
    auto* const words = static_cast<std::uint64_t*>(pinned);
    auto* const answered = words + kWords;  // on a line of its own
    vigil::device::cuda::AnswerProbe probe;
    probe.n_rounds = static_cast<std::int32_t>(state.max_iterations);
    probe.words = words;
    probe.answer = answered;
    std::vector<double> us;
    vigil::bench::failed(state, launch_answers(probe, device->launch_stream()));  // then there are no rounds
    for (auto _ : state) {
        const std::uint64_t round = us.size() + 1;
        const auto until = Clock::now() + std::chrono::nanoseconds(5000 + round * 997 % 4096);
        while (Clock::now() < until) continue;
        const auto begin = Clock::now();
        vigil::ring::store_release(&words[kWords - 1], round);
        while (vigil::ring::load_acquire(answered) != round && Clock::now() - begin < kPatience) continue;
        if (vigil::ring::load_acquire(answered) != round) {
            state.SkipWithError("no answer came");
            break;
        }
        us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
        state.SetIterationTime(us.back() / 1e6);
    }
    device->synchronize();
    device->release_pinned(pinned);
    report_percentiles(state, us);
}
BENCHMARK(answer)->UseManualTime()->Iterations(20000)->Unit(benchmark::kMicrosecond);

// A model that is as small as one can be: what is left is submission.
struct Subject {
    explicit Subject(Device& device) : file(make_model()), model(file, device, 64), rig(device, model, {}) {}

    static std::filesystem::path write_model() {
        auto path = std::filesystem::temp_directory_path() / ("vigil-submission-" + std::to_string(getpid()) + ".gguf");
        vigil::synth::write_model(vigil::synth::preset("tiny"), path);
        return path;
    }
    static vigil::gguf::File make_model() {
        const auto path = write_model();
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
    report_percentiles(state, us);
}

void tokens(benchmark::internal::Benchmark* benchmark) {
    benchmark->ArgName("tokens")->Arg(0)->Arg(1)->UseManualTime()->Unit(benchmark::kMicrosecond);
}
BENCHMARK_CAPTURE(job, persistent, Dispatch::persistent)->Apply(tokens);
BENCHMARK_CAPTURE(job, graph, Dispatch::graph)->Apply(tokens);
BENCHMARK_CAPTURE(job, launch, Dispatch::launch)->Apply(tokens);

// One token of a prompt that is in the KV cache but for its last token, from submit() until a client has it.
// state.range(0): microseconds between requests, which decide whether the engine's threads look or sleep.
void request(benchmark::State& state) {
    using Clock = std::chrono::steady_clock;
    if (vigil::bench::gpu_or_skip(state) == nullptr) return;
    const auto path = Subject::write_model();
    vigil::EngineOptions options;
    options.device = "cuda:0";
    options.ctx_size = 64;
    vigil::Engine engine = vigil::Engine::load(path, options);
    std::filesystem::remove(path);
    vigil::Request wanted;
    wanted.prompt = {1, 2, 3, 4};
    wanted.sampling.temperature = 0.0f;
    wanted.max_new_tokens = 1;
    wanted.ignore_eos = true;
    std::vector<double> us;
    for (auto _ : state) {
        const auto until = Clock::now() + std::chrono::microseconds(state.range(0));
        while (Clock::now() < until) continue;
        const auto begin = Clock::now();
        vigil::Generation generation = engine.submit(wanted);
        if (!generation.next()) {
            state.SkipWithError("no token came");
            break;
        }
        us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
        state.SetIterationTime(us.back() / 1e6);
        while (generation.next()) continue;
    }
    report_percentiles(state, us);
}
BENCHMARK(request)->ArgName("gap_us")->Arg(0)->Arg(200)->Arg(5000)->UseManualTime()->Iterations(500)->Unit(
    benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
