// How fast a GPU's memory is read by plain 16-byte loads, by size and by blocks per multiprocessor. Sizes that fit into
// the L2 cache show its speed instead; `vigil bench` takes its ceiling from the largest.
#include "device/read_ceiling.h"

#include <benchmark/benchmark.h>

#include "bench/gpu.h"
#include "runtime/bench/random_data.h"

namespace {

constexpr std::int32_t kPasses = 8;  // per launch: what a launch takes vanishes beside them
constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;

// state.range(0): MiB; state.range(1): blocks per multiprocessor.
void read(benchmark::State& state) {
    vigil::host::Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    const auto bytes = static_cast<std::size_t>(state.range(0) * kMebibyte);
    const vigil::bench::DeviceArray<std::byte> data(*device, bytes);
    const vigil::bench::DeviceArray<std::uint32_t> sink(*device, 1);
    upload_random(*device, data.get(), bytes, vigil::bench::RandomBits::any);
    const auto n_blocks = static_cast<std::int32_t>(state.range(1)) * device->info().multiprocessors;
    for (auto _ : state) {
        const int error =
            vigil::device::cuda::launch_read(data.get(), bytes, kPasses, sink.get(), n_blocks, device->launch_stream());
        if (vigil::bench::failed(state, error)) return;
        device->synchronize();
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * kPasses * static_cast<std::int64_t>(bytes));
}
BENCHMARK(read)
    ->ArgNames({"MiB", "blocks_per_sm"})
    ->ArgsProduct({{16, 256, 4096}, {1, 2, 4}})
    ->UseRealTime()
    ->MinTime(0.2);

}  // namespace

BENCHMARK_MAIN();
