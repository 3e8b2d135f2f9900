#include "runtime/bench/read_ceiling.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "device/read_ceiling.h"
#include "runtime/bench/random_data.h"

namespace vigil::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRuns = 3;
constexpr int kPasses = 8;  // per launch: what a launch takes vanishes beside them
constexpr int kBlocksPerMultiprocessor[] = {1, 2, 3, 4};
constexpr int kBulkStages[] = {3, 4, 6, 8};  // 16 KB each: 48 KB under way are enough on an H200

double gigabytes_per_second(std::size_t bytes, Clock::time_point begin) {
    return static_cast<double>(bytes) / std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

// The best of several launches of `launch`, which returns CUDA's error; the first is its warm-up.
double best_of(host::Device& device, std::size_t bytes, const std::function<int()>& launch) {
    double best = 0;
    for (int run = 0; run <= kRuns; ++run) {
        const auto begin = Clock::now();
        const int error = launch();
        if (error != 0) throw host::DeviceError("launch of the read kernel: CUDA error " + std::to_string(error));
        device.synchronize();
        if (run > 0) best = std::max(best, gigabytes_per_second(bytes * kPasses, begin));
    }
    return best;
}

double gpu_ceiling(host::Device& device, const std::byte* data, std::size_t bytes, std::uint32_t* sink) {
    const int n_multiprocessors = device.info().multiprocessors;
    void* const stream = device.launch_stream();
    double best = 0;
    for (const int per_multiprocessor : kBlocksPerMultiprocessor)
        best = std::max(best, best_of(device, bytes, [&] {
                            return device::cuda::launch_read(data, bytes, kPasses, sink,
                                                             per_multiprocessor * n_multiprocessors, stream);
                        }));
    if (!device::cuda::can_bulk_read()) return best;
    for (const int n_stages : kBulkStages) {
        const double rate = best_of(device, bytes, [&] {
            return device::cuda::launch_bulk_read(data, bytes, kPasses, n_stages, sink, n_multiprocessors, stream);
        });
        std::uint32_t lost = 0;
        device.download(&lost, sink, sizeof lost);
        if (lost == 0) best = std::max(best, rate);
    }
    return best;
}

// The compiler must believe that somebody wants the sum.
std::uint64_t sum_of(const std::byte* data, std::size_t bytes) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(data);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < bytes / sizeof(std::uint64_t); ++i) sum += words[i];
    return sum;
}

double cpu_ceiling(const std::byte* data, std::size_t bytes, int n_threads) {
    const std::size_t share = bytes / static_cast<std::size_t>(n_threads) / 64 * 64;
    std::vector<std::uint64_t> sums(static_cast<std::size_t>(n_threads));
    double best = 0;
    for (int run = 0; run <= kRuns; ++run) {
        const auto begin = Clock::now();
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < sums.size(); ++i)
            threads.emplace_back([&, i] { ring::store_relaxed(&sums[i], sum_of(data + i * share, share)); });
        threads.clear();
        if (run > 0) best = std::max(best, gigabytes_per_second(share * sums.size(), begin));
    }
    return best;
}

}  // namespace

double read_ceiling(host::Device& device, std::size_t bytes) {
    bytes = bytes / kRandomPiece * kRandomPiece;
    auto* data = static_cast<std::byte*>(device.allocate(bytes));
    auto* sink = static_cast<std::uint32_t*>(device.allocate(sizeof(std::uint32_t)));
    upload_random(device, data, bytes, RandomBits::any);
    const double best = device.info().is_cuda ? gpu_ceiling(device, data, bytes, sink)
                                              : cpu_ceiling(data, bytes, device.info().multiprocessors);
    device.release(sink);
    device.release(data);
    return best;
}

}  // namespace vigil::bench
