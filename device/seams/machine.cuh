// A Machine is what a phase runs on: a Team and an Exchange, with the block's scratch laid out.
//
// Exchange is the only way phases hand values to each other: a block publishes its share with ordinary stores,
// says so with `arrive`, and reads the others' after `await`. In the resident kernel that is a barrier over the
// grid; under launch and graph dispatch the end of one kernel and the begin of the next do the same and both calls
// are empty. Machines with a cheaper exchange replace the type, not the phases.
#pragma once

#include <cstdint>

#include "device/model.h"
#include "device/seams/qualifiers.h"

namespace vigil::device {

// Head of the block-shared scratch. The phases' own area follows it.
struct alignas(64) BlockScratch {
    std::uint32_t failed;  // a wait of this block ended by deadline or abort: leave at the next token boundary
    std::uint32_t flag;    // one value from the leader thread to its block
    std::uint32_t target;  // arrivals at which the current exchange is complete
    float reduce[64];      // one per warp
    std::uint64_t reduce_wide[32];
    // What every layer looks up, fetched while the block waits for something else. Layer i is in slot i & 1.
    LayerWeights layers[2];
    float rope[kMaxHeadDim];  // sine and cosine of this position, pair by pair
};

// Order between kernels comes from the stream.
template <class Team>
struct LaunchExchange {
    VIGIL_DEVICE void arrive(const Team&, BlockScratch*) {}
    VIGIL_DEVICE void await(const Team&, BlockScratch*, ring::Phase, int, std::uint64_t) {}
};

// A barrier over the resident grid: one counter that only counts up, one polling thread per block. What it must
// remember is in shared memory and in the kernel's arguments: registers are what the phases are short of.
template <class Team>
struct BarrierExchange {
    const KernelArgs& args;

    VIGIL_DEVICE void arrive(const Team& team, BlockScratch* scratch) {
        team.sync();  // every thread's stores come before the leader's release
        if (team.thread() != 0) return;
        team.add_release(&args.sync->arrivals, 1);
        scratch->target += static_cast<std::uint32_t>(team.n_blocks());
    }

    // `allowance_ns` is what the others may take beyond the deadline, for the wait that contains their idling.
    VIGIL_DEVICE void await(const Team& team, BlockScratch* scratch, ring::Phase phase, int layer,
                            std::uint64_t allowance_ns) {
        if (team.thread() == 0 && !scratch->failed) poll(team, scratch, phase, layer, args.deadline_ns + allowance_ns);
        team.sync();
    }

   private:
    VIGIL_DEVICE void poll(const Team& team, BlockScratch* scratch, ring::Phase phase, int layer,
                           std::uint64_t limit_ns) {
        const std::uint32_t target = scratch->target;
        std::uint64_t give_up = 0;
        for (std::uint32_t spins = 0;; ++spins) {
            // Pairs with add_release in arrive. The difference is signed so that the counter may wrap.
            const std::uint32_t seen = ring::load_acquire_device(&args.sync->arrivals);
            if (static_cast<std::int32_t>(seen - target) >= 0) return;
            Team::pause(spins);
            if (spins % 256 != 255) continue;
            if (give_up == 0) give_up = Team::clock_ns() + limit_ns;
            const bool aborted = ring::load_relaxed(&args.sync->abort) != 0;
            if (!aborted && Team::clock_ns() < give_up) continue;
            scratch->failed = 1;
            if (!aborted) report(&args.faults[team.block()], phase, layer, target, seen);
            return;
        }
    }

    // The block that gives up first says why; the others leave when they see the abort word.
    VIGIL_DEVICE void report(ring::BlockFault* fault, ring::Phase phase, int layer, std::uint32_t target,
                             std::uint32_t seen) {
        ring::store_relaxed(&fault->phase, static_cast<std::uint32_t>(phase));
        ring::store_relaxed(&fault->layer, static_cast<std::int32_t>(layer));
        ring::store_relaxed(&fault->expected, target);
        ring::store_relaxed(&fault->seen, seen);
        // Pairs with the supervisor's load_acquire after the kernel has left.
        ring::store_release(&fault->fault, static_cast<std::uint32_t>(ring::Fault::kDeadline));
        ring::store_relaxed(&args.sync->abort, 1u);
    }
};

template <class TeamT, class ExchangeT>
struct Machine {
    using Team = TeamT;
    TeamT team;
    ExchangeT exchange;

    VIGIL_DEVICE BlockScratch* scratch() const { return reinterpret_cast<BlockScratch*>(team.shared); }
    // The phases' area of the block-shared scratch, 64-byte aligned.
    VIGIL_DEVICE float* area() const { return reinterpret_cast<float*>(team.shared + sizeof(BlockScratch)); }

    VIGIL_DEVICE void arrive() { exchange.arrive(team, scratch()); }
    VIGIL_DEVICE void await(ring::Phase phase, int layer = -1) { exchange.await(team, scratch(), phase, layer, 0); }
    // The wait between tokens: block 0 may be idle in it, or wait for room in the event ring.
    VIGIL_DEVICE void await_directive(const KernelArgs& a) {
        exchange.await(team, scratch(), ring::Phase::kDirective, -1, a.idle_park_ns + a.deadline_ns + a.lease_ns);
    }
    VIGIL_DEVICE bool failed() const { return scratch()->failed != 0; }

    // True in every thread of the last of `expected` blocks to call this for `counter`, which is then zero again.
    // What the others wrote before their call is visible to it.
    VIGIL_DEVICE bool arrive_last(std::uint32_t* counter, std::uint32_t expected) const {
        team.sync();
        if (team.thread() == 0) {
            const bool last = team.fetch_add(counter, 1) + 1 == expected;
            if (last) ring::store_relaxed(counter, 0u);
            scratch()->flag = last ? 1 : 0;
        }
        team.sync();
        return scratch()->flag != 0;  // not written again before the next sync
    }
};

// The share [begin, end) of `n` items that falls to part `part` of `parts`; shares differ by at most one.
// n * parts fits into 32 bits: rows of a matrix times blocks.
struct Range {
    int begin;
    int end;
};
VIGIL_DEVICE Range share(int n, int part, int parts) {
    const auto at = [&](int p) {
        return static_cast<int>(static_cast<std::uint32_t>(n) * static_cast<std::uint32_t>(p) /
                                static_cast<std::uint32_t>(parts));
    };
    return {at(part), at(part + 1)};
}

// The sum of one value per warp in shared memory: by all lanes at once instead of one after the other.
template <class M>
VIGIL_DEVICE float sum_of_warps(const M& m, const float* per_warp) {
    float total = 0.0f;
    for (int w = m.team.lane(); w < m.team.n_warps(); w += M::Team::kWarpSize) total += per_warp[w];
    return m.team.lane_sum(total);
}

// Sum and maximum over the block in a fixed order; every thread gets the result. The block's threads must all call.
template <class M>
VIGIL_DEVICE float block_sum(const M& m, float v) {
    v = m.team.lane_sum(v);
    float* per_warp = m.scratch()->reduce;
    if (m.team.lane() == 0) per_warp[m.team.warp()] = v;
    m.team.sync();
    const float total = sum_of_warps(m, per_warp);
    m.team.sync();
    return total;
}

template <class M>
VIGIL_DEVICE float block_max(const M& m, float v) {
    v = m.team.lane_max(v);
    float* per_warp = m.scratch()->reduce;
    if (m.team.lane() == 0) per_warp[m.team.warp()] = v;
    m.team.sync();
    float top = per_warp[0];
    for (int w = 1; w < m.team.n_warps(); ++w) top = per_warp[w] > top ? per_warp[w] : top;
    m.team.sync();
    return top;
}

// Integers: the order does not matter.
template <class M>
VIGIL_DEVICE std::uint64_t block_sum_wide(const M& m, std::uint64_t v) {
    for (int mask = M::Team::kWarpSize / 2; mask > 0; mask /= 2)
        v += m.team.lane_exchange(static_cast<unsigned long long>(v), mask);
    std::uint64_t* per_warp = m.scratch()->reduce_wide;
    if (m.team.lane() == 0) per_warp[m.team.warp()] = v;
    m.team.sync();
    std::uint64_t total = 0;
    for (int w = 0; w < m.team.n_warps(); ++w) total += per_warp[w];
    m.team.sync();
    return total;
}

}  // namespace vigil::device
