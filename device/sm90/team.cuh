// The Team of the Hopper path: the 16 warps that consume. The producer is none of it, so the block's barrier is
// a named one.
#pragma once

#include <type_traits>

#include "device/launch.h"
#include "device/seams/machine.cuh"
#include "device/seams/team_cuda.cuh"
#include "device/sm90/ptx.cuh"
#include "device/sm90/replicas.h"
#include "device/sm90/tiles.h"

namespace vigil::device::sm90 {

constexpr int kConsumers = cuda::kThreadsPerBlock;  // threads
static_assert(kConsumers == 32 * tiles::kWarps, "a chunk for each warp");
// Registers are given up and taken by groups of four warps: the producer is one thread of such a group.
constexpr int kThreads = kConsumers + 128;
// Together no more than the block was started with, 96 for each of its threads: a warp that asks for more waits for
// ever.
constexpr int kConsumerRegisters = 112;
constexpr int kProducerRegisters = 32;
static_assert(kConsumers * kConsumerRegisters + 128 * kProducerRegisters <= kThreads * 96, "the block's own registers");

// How far a block is in the stream, and which of two buffers it is at: the same in all its threads. One word, since it
// stays in a register all the time.
struct StreamCursor {
    std::uint32_t bits = 0;

    VIGIL_DEVICE int stage() const { return static_cast<int>(bits & 0xff); }
    VIGIL_DEVICE std::uint32_t parity() const { return bits >> 8 & 1; }
    VIGIL_DEVICE int half() const { return static_cast<int>(bits >> 9 & 1); }  // of the partial sums
    VIGIL_DEVICE std::uint32_t norm() const { return bits >> 10 & 1; }         // of the barrier of the squares' sums
    VIGIL_DEVICE std::uint32_t input() const { return bits >> 11 & 1; }        // of the barriers of the input
    VIGIL_DEVICE bool met() const { return (bits & kMet) != 0; }               // whether the block has, in this layer
    VIGIL_DEVICE std::uint32_t heads() const { return bits >> 13 & 1; }        // of the barrier of attention's heads
    VIGIL_DEVICE std::uint32_t run() const { return bits >> kRunShift; }       // its address in shared memory
    VIGIL_DEVICE void move_to(int stage, std::uint32_t parity) {
        bits = (bits & ~0x1ffu) | static_cast<std::uint32_t>(stage) | parity << 8;
    }
    VIGIL_DEVICE void next_half() { bits ^= 1 << 9; }
    VIGIL_DEVICE void next_norm() { bits ^= 1 << 10; }
    VIGIL_DEVICE void next_input() { bits ^= 1 << 11; }
    VIGIL_DEVICE void next_heads() { bits ^= 1 << 13; }
    VIGIL_DEVICE void set_met() { bits |= kMet; }
    VIGIL_DEVICE void forget_met() { bits &= ~kMet; }
    VIGIL_DEVICE void begin_at(std::uint32_t run) { bits = (bits & ((1u << kRunShift) - 1)) | run << kRunShift; }

   private:
    static constexpr std::uint32_t kMet = 1 << 12;
    static constexpr int kRunShift = 14;  // shared memory has less than 2^18 bytes
};

// Of one value per warp, all read at once: they are few. 16-byte aligned.
VIGIL_DEVICE float sum_of_warps(const float* per_warp) {
    const auto* fours = reinterpret_cast<const float4*>(per_warp);
    float total = 0.0f;
    VIGIL_UNROLL
    for (int i = 0; i < kConsumers / 32 / 4; ++i) {
        const float4 four = fours[i];
        total += (four.x + four.y) + (four.z + four.w);
    }
    return total;
}

// What does not depend on the model's formats.
struct Team : CudaTeam {
    static constexpr int kReplicaFloats = sm90::kReplicaFloats;
    StreamCursor stream;

    VIGIL_DEVICE BlockScratch* scratch() const { return reinterpret_cast<BlockScratch*>(shared); }
    VIGIL_DEVICE int thread() const { return thread_index(); }
    VIGIL_DEVICE int thread_anew() const { return thread_index(); }
    // Shifts, since the compiler does not know that no index is negative.
    VIGIL_DEVICE int warp() const { return thread() >> 5; }
    VIGIL_DEVICE int lane() const { return thread() & (kWarpSize - 1); }
    VIGIL_DEVICE int n_threads() const { return kConsumers; }
    VIGIL_DEVICE int n_warps() const { return kConsumers / kWarpSize; }
    VIGIL_DEVICE void sync() const { named_barrier<kConsumers>(); }
    // Without barrier.red, which synccheck takes for a barrier of the producer's warps, too.
    VIGIL_DEVICE int sync_count(bool predicate) const {
        __syncwarp();
        const int count = __popc(__ballot_sync(~0u, predicate));
        static_assert(offsetof(BlockScratch, reduce) % sizeof(float4) == 0, "sum_of_warps reads four at once");
        float* counts = scratch()->reduce;
        if (lane() == 0) counts[warp()] = static_cast<float>(count);
        sync();
        const float total = sum_of_warps(counts);
        sync();  // before the next one writes
        return static_cast<int>(total);
    }
};

// A kernel is made for a set of tiles::InputKind, and with this one more bit to multiply long inputs in rounds
// (layer.cuh). The fewer of both, the shorter it is and the fewer registers it wants.
constexpr std::uint32_t kInRounds = 1u << 16;

template <std::uint32_t Kernel>
struct TeamFor : Team {
    static constexpr std::uint32_t kKinds = Kernel & ~kInRounds;
    static constexpr bool kOneKind = (kKinds & (kKinds - 1)) == 0;
    static constexpr bool kGathersInRounds = (Kernel & kInRounds) != 0;
    // Inputs behind a norm are prepared by code of their own; the other kernels have no registers for it.
    static constexpr bool kPreparesApart = kOneKind && !(kGathersInRounds && kKinds == tiles::kInt8Digits);

    // The kinds that an input is wanted as, given as a set among kKinds.
    VIGIL_DEVICE static std::uint32_t kinds(std::uint32_t of_phase) { return kOneKind ? kKinds : of_phase; }
};

// The kernels that there are. That of all kinds has the portable attention, for mixtures and unusual heads.
constexpr std::uint32_t kAllKinds = tiles::kInt8Digits | tiles::kHalfParts | tiles::kBfloatParts | tiles::kFloats;
constexpr std::uint32_t kHalfKernel = tiles::kHalfParts | kInRounds;
constexpr std::uint32_t kBfloatKernel = tiles::kBfloatParts | kInRounds;
constexpr std::uint32_t kInt8RoundsKernel = tiles::kInt8Digits | kInRounds;

// use(std::integral_constant) with the kernel that a plan asks for.
template <class Use>
auto with_kernel(const StreamPlan& plan, Use&& use) {
    if (plan.other_heads != 0) return use(std::integral_constant<std::uint32_t, kAllKinds>{});
    switch (plan.kinds) {
        case tiles::kInt8Digits:
            if (plan.in_rounds != 0) return use(std::integral_constant<std::uint32_t, kInt8RoundsKernel>{});
            return use(std::integral_constant<std::uint32_t, tiles::kInt8Digits>{});
        case tiles::kHalfParts:
            return use(std::integral_constant<std::uint32_t, kHalfKernel>{});
        case tiles::kBfloatParts:
            return use(std::integral_constant<std::uint32_t, kBfloatKernel>{});
        default:
            return use(std::integral_constant<std::uint32_t, kAllKinds>{});
    }
}

}  // namespace vigil::device::sm90
