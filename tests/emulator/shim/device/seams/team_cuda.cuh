// device/seams/team_cuda.cuh for the emulator: the same members, by what lanes.h offers.
#pragma once

#include <chrono>
#include <cstdint>

#include "device/model.h"
#include "device/seams/machine.cuh"
#include "tests/emulator/shim/cuda_intrinsics.h"

namespace vigil::device {

struct WeightRound;

struct CudaTeam {
    static constexpr int kWarpSize = 32;
    static constexpr int kLoadsInFlight = 3;
    using Ahead = WeightRound;
    static constexpr int kPositionsInFlight = 1;
    static constexpr int kLooksInFlight = 2;
    static constexpr int kReplicaFloats = 0;
    static constexpr int kHeadsPerPass = kGpuHeadsPerPass;
    using RawHalf8 = uint4;

    char* shared;

    int block() const { return emulator::self().block->index; }
    std::uint32_t multiprocessor() const { return static_cast<std::uint32_t>(block()); }
    int n_blocks() const { return emulator::self().block->n_blocks; }
    int thread() const { return emulator::self().thread; }
    int thread_anew() const { return thread(); }
    int warp() const { return thread() / kWarpSize; }
    int lane() const { return thread() % kWarpSize; }

    void sync_warp() const { __syncwarp(); }

    float lane_sum(float v, int width = kWarpSize) const {
        for (int offset = width / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
        return v;
    }
    float lane_max(float v, int width = kWarpSize) const {
        for (int offset = width / 2; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, offset));
        return v;
    }
    std::uint32_t lane_highest(std::uint32_t v) const { return __reduce_max_sync(~0u, v); }
    std::uint32_t lane_total(std::uint32_t v) const { return __reduce_add_sync(~0u, v); }
    template <class T>
    T lane_exchange(T v, int mask) const {
        return __shfl_xor_sync(~0u, v, mask);
    }
    void add_release(std::uint32_t* p, std::uint32_t v) const { *p += v; }
    int fetch_add_shared(int* p, int v) const {
        const int before = *p;
        *p += v;
        return before;
    }
    static float load_published(const float* p) { return *p; }
    static Quad load_quad(const float* p) {
        Quad q;
        std::memcpy(&q, p, sizeof q);
        return q;
    }
    static std::uint32_t load_word(const float* p) { return __float_as_uint(*p); }
    static void store_word(float* p, std::uint32_t word) { *p = __uint_as_float(word); }
    static std::uint64_t clock_ns() {
        const auto now = std::chrono::steady_clock::now().time_since_epoch();
        return static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count());
    }
    static void pause(std::uint32_t) { emulator::yield(); }
    static void rest(std::uint32_t) {}
};

}  // namespace vigil::device
