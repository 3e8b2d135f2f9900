// Team on a GPU: who am I, how many are we, reductions within a warp, barrier within a block. sm_52 up.
//
// A Team is what a phase knows of the machine it runs on. The CPU machine's twin is device/cpu/team.h; both offer
// exactly these members.
#pragma once

#include <cstdint>

#include "device/model.h"
#include "device/seams/machine.cuh"

namespace vigil::device {

struct WeightRound;

struct CudaTeam {
    static constexpr int kWarpSize = 32;

    // 16-byte loads per lane and round of weights; two rounds overlap, so a block of 16 warps has 8 KB per load on its
    // way. Bandwidth times latency per multiprocessor is about 25 KB on an H200 and 5 to 11 KB on older ones. One more
    // spills.
#if __CUDA_ARCH__ >= 800
    static constexpr int kLoadsInFlight = 3;
#else
    static constexpr int kLoadsInFlight = 2;
#endif
    using Ahead = WeightRound;
    // Positions per lane group whose keys and values are in flight together; two spill on sm_75.
#if __CUDA_ARCH__ == 750
    static constexpr int kPositionsInFlight = 1;
#else
    static constexpr int kPositionsInFlight = 1;
#endif
    static constexpr int kLooksInFlight = 2;  // at a published vector, per thread
    static constexpr int kReplicaFloats = 0;  // from a published word to its replica; 0: there is none
    static constexpr int kHeadsPerPass = kGpuHeadsPerPass;
    using RawHalf8 = uint4;  // eight FP16 values, not yet unpacked

    char* shared;  // block-shared scratch, 16-byte aligned

    // Read anew at each use: what follows from it would otherwise be computed for all phases before the loop over the
    // layers, and held in registers that the phases are short of.
    VIGIL_DEVICE int block() const {
        int index;
        asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(index));
        return index;
    }
    VIGIL_DEVICE std::uint32_t multiprocessor() const {
        std::uint32_t index;
        asm volatile("mov.u32 %0, %%smid;" : "=r"(index));
        return index;
    }
    VIGIL_DEVICE int n_blocks() const {
        return static_cast<int>(gridDim.x);
    }
    VIGIL_DEVICE int thread() const {
        return static_cast<int>(threadIdx.x);
    }
    // The same, read anew as block() is.
    VIGIL_DEVICE int thread_anew() const {
        int index;
        asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
        return index;
    }
    VIGIL_DEVICE int n_threads() const {
        return static_cast<int>(blockDim.x);
    }
    VIGIL_DEVICE int warp() const {
        return static_cast<int>(threadIdx.x) / kWarpSize;
    }
    VIGIL_DEVICE int n_warps() const {
        return static_cast<int>(blockDim.x) / kWarpSize;
    }
    VIGIL_DEVICE int lane() const {
        return static_cast<int>(threadIdx.x) % kWarpSize;
    }

    // All threads of the block.
    VIGIL_DEVICE void sync() const {
        __syncthreads();
    }
    VIGIL_DEVICE int sync_count(bool predicate) const {
        return __syncthreads_count(predicate);
    }
    VIGIL_DEVICE void sync_warp() const {
        __syncwarp();
    }

    // Over `width` neighbouring lanes (a power of two); every lane gets the result. Fixed order of addition.
    VIGIL_DEVICE float lane_sum(float v, int width = kWarpSize) const {
        for (int offset = width / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(~0u, v, offset);
        return v;
    }
    VIGIL_DEVICE float lane_max(float v, int width = kWarpSize) const {
        for (int offset = width / 2; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, offset));
        return v;
    }
    VIGIL_DEVICE std::uint32_t lane_highest(std::uint32_t v) const {
#if __CUDA_ARCH__ >= 800
        return __reduce_max_sync(~0u, v);
#else
        for (int mask = kWarpSize / 2; mask > 0; mask /= 2) v = max(v, __shfl_xor_sync(~0u, v, mask));
        return v;
#endif
    }
    // Modulo 2^32.
    VIGIL_DEVICE std::uint32_t lane_total(std::uint32_t v) const {
#if __CUDA_ARCH__ >= 800
        return __reduce_add_sync(~0u, v);
#else
        for (int mask = kWarpSize / 2; mask > 0; mask /= 2) v += __shfl_xor_sync(~0u, v, mask);
        return v;
#endif
    }
    // The value of the lane whose number differs in the bits of `mask`.
    template <class T>
    VIGIL_DEVICE T lane_exchange(T v, int mask) const {
        return __shfl_xor_sync(~0u, v, mask);
    }

    // Atomic on device memory; what came before is visible to whoever acquires it.
    VIGIL_DEVICE void add_release(std::uint32_t* p, std::uint32_t v) const {
#if __CUDA_ARCH__ >= 700
        asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
#else
        __threadfence();
        atomicAdd(p, v);
#endif
    }
    VIGIL_DEVICE int fetch_add_shared(int* p, int v) const {
        return atomicAdd(p, v);
    }

    // A value another block wrote before the last barrier; never from a stale L1 line.
    VIGIL_DEVICE static float load_published(const float* p) {
        return __ldcg(p);
    }
    // Words of a published vector: each is moved whole, and none is older than the last look at it. 16-byte aligned.
    VIGIL_DEVICE static Quad load_quad(const float* p) {
        Quad q;
#if __CUDA_ARCH__ >= 700
        asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(q.word[0]), "=r"(q.word[1]), "=r"(q.word[2]), "=r"(q.word[3])
                     : "l"(p)
                     : "memory");
#else
        asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(q.word[0]), "=r"(q.word[1]), "=r"(q.word[2]), "=r"(q.word[3])
                     : "l"(p)
                     : "memory");
#endif
        return q;
    }
    VIGIL_DEVICE static std::uint32_t load_word(const float* p) {
#if __CUDA_ARCH__ >= 700
        std::uint32_t word;
        asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(word) : "l"(p) : "memory");
        return word;
#else
        return ring::load_relaxed(reinterpret_cast<const std::uint32_t*>(p));
#endif
    }
    VIGIL_DEVICE static void store_word(float* p, std::uint32_t word) {
#if __CUDA_ARCH__ >= 700
        asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(word) : "memory");
#else
        ring::store_relaxed(reinterpret_cast<std::uint32_t*>(p), word);
#endif
    }

    // Nanoseconds of a clock common to all blocks.
    VIGIL_DEVICE static std::uint64_t clock_ns() {
        std::uint64_t t;
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
        return t;
    }

    // Between two looks at a word that is not there yet: nothing. After a few hundred, for a wait that is no exchange.
    VIGIL_DEVICE static void pause(std::uint32_t) {}
    VIGIL_DEVICE static void rest([[maybe_unused]] std::uint32_t spins) {
#if __CUDA_ARCH__ >= 700
        if (spins > 4096) __nanosleep(200);
#endif
    }
};

}  // namespace vigil::device
