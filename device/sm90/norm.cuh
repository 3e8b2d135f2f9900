// The scale of an RMSNorm, worked out beside the products that it is for, by a warp that has nothing else to do: the
// warps that consume leave their sums of squares, and find 1 / rms where they hand on their rows. There is one place
// for it: the next norm's input, which new sums are of, depends on all rows behind this one, and those wait for the
// scale.
#pragma once

#include "device/sm90/stream.cuh"

namespace vigil::device::sm90 {

// Where a consuming warp leaves its sums of squares of an input behind a norm, of their barrier's phase `parity`.
VIGIL_DEVICE Shared squares_of_warp(const StreamControl* c, std::uint32_t parity, int warp) {
    return shared_address(c->squares[parity][warp]);
}

// A consuming warp, all lanes. A few sums are left, since each step of adding them up takes as long as a load.
VIGIL_DEVICE void leave_squares(StreamControl* c, std::uint32_t parity, float of_lane) {
    const int thread = thread_index();
    const int lane = thread & 31;
    VIGIL_UNROLL
    for (int mask = 16; mask >= kSquaresOfWarp; mask /= 2) of_lane += __shfl_xor_sync(~0u, of_lane, mask);
    if (lane < kSquaresOfWarp)
        store_shared_float(squares_of_warp(c, parity, thread >> 5) + static_cast<Shared>(4 * lane), of_lane);
    __syncwarp();
    if (lane < kArrivingLanes) barrier_arrive(shared_address(&c->squared), 1);
}

// The norm's warp, all lanes. Returns behind `one` norm or when the consumers say stop, which it notices late: a look
// at the barrier may take microseconds.
VIGIL_DEVICE void work_out_norm_scales(StreamControl* c, const ModelConfig& config, bool one) {
    const Shared squared = shared_address(&c->squared);
    const int lane = thread_index() & 31;
    VIGIL_UNROLL_BY(1)
    for (std::uint32_t parity = 0;; parity ^= 1) {
        while (!barrier_passed(squared, parity))
            if (said_stop(c)) return;
        __syncwarp();
        static_assert(tiles::kWarps * kSquaresOfWarp == 4 * 32, "four to a lane");
        const uint4 four = load_shared16(squares_of_warp(c, parity, 0) + static_cast<Shared>(16 * lane));
        float sum =
            (__uint_as_float(four.x) + __uint_as_float(four.y)) + (__uint_as_float(four.z) + __uint_as_float(four.w));
        VIGIL_UNROLL
        for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
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
