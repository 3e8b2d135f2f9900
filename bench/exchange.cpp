// The grid barrier, and how blocks hand values to each other: one exchange over and over on all multiprocessors, with
// nothing else to do. Time per exchange is by the device's clock. See device/probes.h for the forms.
#include <benchmark/benchmark.h>

#include "bench/gpu.h"
#include "device/probes.h"

namespace {

using vigil::bench::DeviceArray;
using vigil::device::cuda::ExchangeForm;
using vigil::device::cuda::ExchangeProbe;

constexpr std::int32_t kRounds = 2000;
constexpr std::int32_t kUntimedRounds = kRounds / 10;

// state.range(0): floats in all; state.range(1): blocks, 0 for one per multiprocessor.
void exchange(benchmark::State& state, ExchangeForm form) {
    vigil::host::Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    ExchangeProbe probe;
    probe.form = form;
    probe.n_floats = static_cast<std::int32_t>(state.range(0));
    probe.n_blocks = state.range(1) > 0 ? static_cast<std::int32_t>(state.range(1)) : device->info().multiprocessors;
    probe.n_rounds = kRounds;
    const DeviceArray<float> values(*device, 2 * vigil::device::cuda::kMaxExchangedFloats);
    const DeviceArray<vigil::device::SyncWords> sync(*device, 1);
    const DeviceArray<vigil::ring::BlockFault> faults(*device, static_cast<std::size_t>(probe.n_blocks));
    const DeviceArray<std::uint64_t> elapsed(*device, 1);
    const DeviceArray<std::uint32_t> wrong(*device, 1);
    probe.values = values.get();
    probe.sync = sync.get();
    probe.faults = faults.get();
    probe.elapsed_ns = elapsed.get();
    probe.wrong = wrong.get();
    for (auto _ : state) {
        if (vigil::bench::failed(state, launch_exchange(probe, device->launch_stream()))) return;
        device->synchronize();
        const double seconds = static_cast<double>(elapsed.first()) * 1e-9;
        state.SetIterationTime(seconds / (kRounds - kUntimedRounds));
    }
    if (wrong.first() != 0) state.SkipWithError("a block read what was not published");
    state.counters["blocks"] = probe.n_blocks;
}

void forms_and_sizes(benchmark::internal::Benchmark* benchmark) {
    benchmark->ArgNames({"floats", "blocks"})->UseManualTime()->Iterations(20)->Unit(benchmark::kMicrosecond);
}

BENCHMARK_CAPTURE(exchange, barrier, ExchangeForm::barrier)->Apply(forms_and_sizes)->ArgsProduct({{0}, {0, 32, 64}});
BENCHMARK_CAPTURE(exchange, barrier_gather, ExchangeForm::barrier_gather)
    ->Apply(forms_and_sizes)
    ->ArgsProduct({{576, 1024, 2048, 4096, 8192}, {0}})
    ->Args({2048, 64});
BENCHMARK_CAPTURE(exchange, flagged_words, ExchangeForm::flagged_words)
    ->Apply(forms_and_sizes)
    ->ArgsProduct({{576, 1024, 2048, 4096, 8192}, {0}})
    ->Args({2048, 64});

}  // namespace

BENCHMARK_MAIN();
