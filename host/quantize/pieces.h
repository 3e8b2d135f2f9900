// Work in pieces, spread over a few threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace vigil::quantize {

// Calls worker(i) once for every i below `n_pieces`, in any order, on `n_threads` threads (0: one per processor). Each
// thread has a worker of its own from make_worker(), so that it may keep buffers. After an exception no piece is begun
// any more; the first one is thrown on when all threads have ended.
template <typename MakeWorker>
void for_each_piece(std::size_t n_pieces, unsigned n_threads, MakeWorker make_worker) {
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr failure;
    const auto run = [&]() noexcept {
        try {
            auto worker = make_worker();
            for (std::size_t i = next++; i < n_pieces; i = next++) worker(i);
        } catch (...) {
            next = n_pieces;
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::current_exception();
        }
    };
    if (n_threads == 0) n_threads = std::max(std::thread::hardware_concurrency(), 1u);
    {
        std::vector<std::jthread> threads;
        for (unsigned i = 0; i < n_threads; ++i) threads.emplace_back(run);
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace vigil::quantize
