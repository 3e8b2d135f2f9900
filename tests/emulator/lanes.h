// A grid of CUDA blocks on one host thread: every CUDA thread ("lane") is a fiber, and they take turns wherever real
// ones would wait for each other. Made for tests that have no GPU: it runs the source of the Hopper path, finds
// collectives that not all lanes of a warp call (they stand still), and completes asynchronous copies late and in
// random order. It says nothing about speed, about memory order or about what the real instructions do beyond their
// documented results.
#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace vigil::emulator {

constexpr int kWarpSize = 32;
constexpr int kMaxWords = 12;  // of 32 bits that a lane contributes to a collective

struct Warp {
    std::uint64_t collectives = 0;  // completed
    int arrived = 0;
    std::uint32_t contributed[kWarpSize][kMaxWords];
    std::uint32_t collected[kWarpSize][kMaxWords];
};

struct NamedBarrier {
    std::uint64_t passed = 0;
    int arrived = 0;
};

struct Block {
    int index;
    int n_blocks;
    std::byte* shared;
    std::vector<Warp> warps;
    NamedBarrier barriers[2];
};

struct Lane {
    int thread;
    Block* block;
    Warp* warp;
    const std::uint64_t* waits_for = nullptr;  // not to be resumed while this is …
    std::uint64_t as_long_as = 0;              // … that
    boost::context::fiber fiber;
    boost::context::fiber back;  // to the scheduler
};

// The lane that runs now.
Lane& self();
// Lets the others run.
void yield();
// Until *word is no longer `value`.
void wait_while(const std::uint64_t* word, std::uint64_t value);

// Contributes `words` values and returns what lane `l` contributed by collected(l). All lanes of the warp must call.
using Collected = const std::uint32_t (*)[kMaxWords];
Collected collect(const std::uint32_t* mine, int words);
// Of the block's first n threads.
void barrier(int name, int n_threads);

// A copy that happens later; `then` is called when it has.
void copy_later(void* to, const void* from, std::size_t bytes, std::function<void()> then);

// Runs `n_blocks` blocks of `n_threads` threads with zeroed shared memory until all have returned. Throws
// std::runtime_error when nobody can go on any more.
void run_grid(int n_blocks, int n_threads, std::size_t shared_bytes, const std::function<void(char* shared)>& kernel);

}  // namespace vigil::emulator
