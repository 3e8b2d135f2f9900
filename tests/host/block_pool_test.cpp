// The pool of threads that stand for blocks: order of steps, more blocks than cores, deadlines. Plain variables carry
// what crosses a barrier, so that ThreadSanitizer sees a barrier that does not order them.
#include "host/cpu/block_pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <doctest/doctest.h>
#include <thread>
#include <vector>

#include "host/device.h"
#include "tests/patience.h"

namespace vigil::host {
namespace {

using std::chrono::milliseconds;

// Every block adds up what all blocks wrote in the step before. Any block that runs ahead or lags changes the sum.
void run_exchange(int n_blocks, int n_steps, int n_jobs) {
    BlockPool pool(n_blocks, 64);
    std::vector<std::uint32_t> values(static_cast<std::size_t>(n_blocks), 1);
    std::vector<std::uint32_t> next(values.size());
    for (int job = 0; job < n_jobs; ++job) {
        pool.start(2 * n_steps, [&](std::int32_t step, std::int32_t block, void*) {
            const auto b = static_cast<std::size_t>(block);
            if (step % 2 == 1) {
                values[b] = next[b];
                return;
            }
            std::uint32_t sum = static_cast<std::uint32_t>(step);
            for (const std::uint32_t v : values) sum += v;
            next[b] = sum;
        });
        pool.wait();
    }
    std::uint32_t expected = 1;
    for (int job = 0; job < n_jobs; ++job)
        for (int step = 0; step < n_steps; ++step)
            expected = expected * static_cast<std::uint32_t>(n_blocks) + static_cast<std::uint32_t>(2 * step);
    for (const std::uint32_t v : values) CHECK(v == expected);
}

TEST_CASE("a step begins when every block has left the step before") {
    run_exchange(2, 2000, 1);
}

TEST_CASE("one block needs no other") {
    run_exchange(1, 1000, 3);
}

TEST_CASE("more blocks than cores make progress") {
    const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    run_exchange(8 * cores, 100, 2);
}

TEST_CASE("jobs follow one another") {
    run_exchange(3, 2, 500);
}

TEST_CASE("a block keeps scratch of its own, zeroed and aligned") {
    constexpr std::size_t kBytes = 1000;
    BlockPool pool(4, kBytes);
    std::atomic<int> faults{0};
    pool.start(2, [&](std::int32_t step, std::int32_t block, void* scratch) {
        auto* bytes = static_cast<unsigned char*>(scratch);
        if (reinterpret_cast<std::uintptr_t>(scratch) % 64 != 0) ++faults;
        for (std::size_t i = 0; i < kBytes; ++i) {
            if (bytes[i] != (step == 0 ? 0 : block + 1)) ++faults;
            bytes[i] = static_cast<unsigned char>(block + 1);
        }
    });
    pool.wait();
    CHECK(faults == 0);
}

TEST_CASE("a wait ends at its deadline while a block is busy, and a second job is refused") {
    BlockPool pool(2, 0);
    std::atomic<bool> go{false};
    pool.start(1, [&](std::int32_t, std::int32_t block, void*) {
        while (block == 1 && !go) std::this_thread::sleep_for(milliseconds(1));
    });
    CHECK(pool.busy());
    CHECK_FALSE(pool.wait(milliseconds(20)));
    CHECK_THROWS_AS(pool.start(1, [](std::int32_t, std::int32_t, void*) {}), DeviceError);
    go = true;
    CHECK(pool.wait(test::kPatience));
    CHECK_FALSE(pool.busy());
}

TEST_CASE("stopping gives up on a block that never returns") {
    const auto go = std::make_shared<std::atomic<bool>>(false);
    const auto left = std::make_shared<std::atomic<bool>>(false);
    {
        BlockPool pool(2, 0);
        pool.start(1, [go, left](std::int32_t, std::int32_t block, void*) {
            while (block == 0 && !*go) std::this_thread::sleep_for(milliseconds(1));
            if (block == 0) *left = true;
        });
        CHECK_FALSE(pool.stop(milliseconds(20)));
    }
    CHECK_FALSE(*left);
    *go = true;
    const auto give_up = std::chrono::steady_clock::now() + test::kPatience;
    while (!*left && std::chrono::steady_clock::now() < give_up) std::this_thread::sleep_for(milliseconds(1));
    CHECK(*left);
}

}  // namespace
}  // namespace vigil::host
