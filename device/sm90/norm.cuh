// The scale of an RMSNorm, worked out beside the products that it is for, by a warp that has nothing else to do: the
// warps that consume leave their sums of squares, and find 1 / rms where they hand on their rows. There is one place
// for each: the next norm's input, which new sums are of, depends on all rows behind this one, and those wait for the
// scale.
#pragma once

#include "device/sm90/stream.cuh"

namespace vigil::device::sm90 {

// The consuming warps' sums of squares of an input behind a norm, of their barrier's phase `parity`. racecheck does not
// see what comes of the other blocks' rows: for it there are two places, with a barrier of the block between their
// uses.
VIGIL_DEVICE float* warp_squares(BlockScratch* scratch, std::uint32_t parity) {
    static_assert(2 * tiles::kWarps <= kMaxWarps, "room for two");
    return scratch->reduce + (kForRacecheck ? tiles::kWarps * parity : 0);
}

// The norm's warp, all lanes. Returns behind `one` norm or when the consumers say stop, which it notices late: a look
// at the barrier may take microseconds.
VIGIL_DEVICE void work_out_norm_scales(StreamControl* c, const ModelConfig& config, bool one) {
    auto* scratch = reinterpret_cast<BlockScratch*>(c + 1);
    const Shared squared = shared_address(&c->squared);
    const int lane = thread_index() & 31;
    VIGIL_UNROLL_BY(1)
    for (std::uint32_t parity = 0;; parity ^= 1) {
        while (!barrier_passed(squared, parity))
            if (said_stop(c)) return;
        __syncwarp();
        float sum = lane < tiles::kWarps ? warp_squares(scratch, parity)[lane] : 0.0f;
        VIGIL_UNROLL
        for (int mask = tiles::kWarps / 2; mask > 0; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
        if (lane == 0) c->norm_scale = rsqrtf(fmaf(sum, 1.0f / static_cast<float>(config.dim), config.norm_eps));
        if (lane < kArrivingLanes) barrier_arrive(shared_address(&c->scaled), 1);
        if (one) return;
    }
}

// The scale of the last norm, of the barrier's phase `parity`; 1 if the products are not behind one. That is asked
// behind the wait, which nobody waits in then: a branch around it would take longer.
VIGIL_DEVICE float await_norm_scale(StreamControl* c, std::uint32_t parity, bool normed) {
    while (!barrier_passed(shared_address(&c->scaled), parity)) {
    }
    const float scale = load_shared_float(shared_address(&c->norm_scale));
    return normed ? scale : 1.0f;
}

}  // namespace vigil::device::sm90
