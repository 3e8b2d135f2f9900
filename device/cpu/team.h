// Team on the CPU: one block is one host thread, a warp has one lane, shuffles are the identity.
// Atomics are real, so ThreadSanitizer sees a missing exchange in the very phases that the GPU runs.
#pragma once

#include <cstdint>
#include <sched.h>
#include <time.h>

#include "device/model.h"
#include "device/seams/machine.cuh"

namespace vigil::device {

// `Isa` only tells the instantiations of different instruction sets apart.
template <class Isa>
struct CpuTeam {
    static constexpr int kWarpSize = 1;

    static constexpr int kPositionsInFlight = 2;
    static constexpr int kLooksInFlight = 1;
    static constexpr int kReplicaFloats = 0;  // from a published word to its replica; 0: there is none
    static constexpr int kHeadsPerPass = kCpuHeadsPerPass;
    struct Ahead {};                        // the processor itself runs ahead
    using RawHalf8 = const std::uint16_t*;  // eight FP16 values where they are

    char* shared;  // this block's scratch, 128-byte aligned
    int block_index;
    int block_count;

    VIGIL_DEVICE int block() const { return block_index; }
    VIGIL_DEVICE std::uint32_t multiprocessor() const { return static_cast<std::uint32_t>(block_index); }
    VIGIL_DEVICE int n_blocks() const { return block_count; }
    VIGIL_DEVICE int thread() const { return 0; }
    VIGIL_DEVICE int thread_anew() const { return 0; }
    VIGIL_DEVICE int n_threads() const { return 1; }
    VIGIL_DEVICE int warp() const { return 0; }
    VIGIL_DEVICE int n_warps() const { return 1; }
    VIGIL_DEVICE int lane() const { return 0; }

    VIGIL_DEVICE void sync() const {}
    VIGIL_DEVICE int sync_count(bool predicate) const { return predicate ? 1 : 0; }
    VIGIL_DEVICE void sync_warp() const {}
    VIGIL_DEVICE float lane_sum(float v, int = 1) const { return v; }
    VIGIL_DEVICE float lane_max(float v, int = 1) const { return v; }
    VIGIL_DEVICE std::uint32_t lane_highest(std::uint32_t v) const { return v; }
    VIGIL_DEVICE std::uint32_t lane_total(std::uint32_t v) const { return v; }
    template <class T>
    VIGIL_DEVICE T lane_exchange(T v, int) const {
        return v;
    }

    VIGIL_DEVICE void add_release(std::uint32_t* p, std::uint32_t v) const {
        __atomic_fetch_add(p, v, __ATOMIC_RELEASE);
    }
    VIGIL_DEVICE int fetch_add_shared(int* p, int v) const {
        const int before = *p;
        *p = before + v;
        return before;
    }

    VIGIL_DEVICE static float load_published(const float* p) { return *p; }
    VIGIL_DEVICE static std::uint32_t load_word(const float* p) {
        std::uint32_t word;
        __atomic_load(reinterpret_cast<const std::uint32_t*>(p), &word, __ATOMIC_RELAXED);
        return word;
    }
    VIGIL_DEVICE static Quad load_quad(const float* p) {
        return {{load_word(p), load_word(p + 1), load_word(p + 2), load_word(p + 3)}};
    }
    VIGIL_DEVICE static void store_word(float* p, std::uint32_t word) {
        __atomic_store(reinterpret_cast<std::uint32_t*>(p), &word, __ATOMIC_RELAXED);
    }

    VIGIL_DEVICE static std::uint64_t clock_ns() {
        timespec t{};
        clock_gettime(CLOCK_MONOTONIC, &t);
        return static_cast<std::uint64_t>(t.tv_sec) * 1000000000u + static_cast<std::uint64_t>(t.tv_nsec);
    }

    VIGIL_DEVICE static void rest(std::uint32_t) {}
    // More blocks than cores must not starve each other: give the core away soon, sleep when idle for long.
    VIGIL_DEVICE static void pause(std::uint32_t spins) {
        if (spins > 20000) {
            const timespec t{0, 200000};
            nanosleep(&t, nullptr);
        } else if (spins > 500) {
            sched_yield();
        } else {
            __builtin_ia32_pause();
        }
    }
};

}  // namespace vigil::device
