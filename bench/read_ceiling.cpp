// How fast a GPU's memory is read: by plain 16-byte loads, by size and blocks per multiprocessor, and by bulk copies,
// by size and copies under way. Sizes that fit into the L2 cache show its speed instead; `vigil bench` takes its
// ceiling from the largest.
#include "device/read_ceiling.h"

#include <benchmark/benchmark.h>

#include "bench/gpu.h"
#include "runtime/bench/random_data.h"

namespace {

constexpr std::int32_t kPasses = 8;  // per launch: what a launch takes vanishes beside them
constexpr std::int64_t kMebibyte = std::int64_t{1} << 20;

// Times launches of `launch(data, bytes, sink, stream)`, which returns CUDA's error. state.range(0): MiB.
template <class Launch>
void time_reads(benchmark::State& state, vigil::host::Device& device, const Launch& launch) {
    const auto bytes = static_cast<std::size_t>(state.range(0) * kMebibyte);
    const vigil::bench::DeviceArray<std::byte> data(device, bytes);
    const vigil::bench::DeviceArray<std::uint32_t> sink(device, 1);
    upload_random(device, data.get(), bytes, vigil::bench::RandomBits::any);
    for (auto _ : state) {
        if (vigil::bench::failed(state, launch(data.get(), bytes, sink.get(), device.launch_stream()))) return;
        device.synchronize();
    }
    if (sink.first() != 0) state.SkipWithError("a copy did not arrive");
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * kPasses * static_cast<std::int64_t>(bytes));
}

// state.range(1): blocks per multiprocessor.
void read(benchmark::State& state) {
    vigil::host::Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    const auto n_blocks = static_cast<std::int32_t>(state.range(1)) * device->info().multiprocessors;
    time_reads(state, *device, [n_blocks](const void* data, std::size_t bytes, std::uint32_t* sink, void* stream) {
        return vigil::device::cuda::launch_read(data, bytes, kPasses, sink, n_blocks, stream);
    });
}
BENCHMARK(read)
    ->ArgNames({"MiB", "blocks_per_sm"})
    ->ArgsProduct({{16, 256, 4096}, {1, 2, 4}})
    ->UseRealTime()
    ->MinTime(0.2);

// state.range(1): KiB of copies under way in each block, of which there is one per multiprocessor.
void bulk_read(benchmark::State& state) {
    vigil::host::Device* device = vigil::bench::gpu_or_skip(state);
    if (device == nullptr) return;
    if (!vigil::device::cuda::can_bulk_read()) return state.SkipWithError("skipped: bulk copies need sm_90");
    const std::int32_t n_blocks = device->info().multiprocessors;
    const auto n_stages = static_cast<std::int32_t>(state.range(1) * 1024 / vigil::device::cuda::kBulkPieceBytes);
    time_reads(state, *device,
               [n_blocks, n_stages](const void* data, std::size_t bytes, std::uint32_t* sink, void* stream) {
                   return vigil::device::cuda::launch_bulk_read(data, bytes, kPasses, n_stages, sink, n_blocks, stream);
               });
}
BENCHMARK(bulk_read)
    ->ArgNames({"MiB", "KiB_under_way"})
    ->ArgsProduct({{256, 4096}, {32, 48, 64, 96, 128, 192}})
    ->UseRealTime()
    ->MinTime(0.2);

}  // namespace

BENCHMARK_MAIN();
