// Which replica of a published vector is nearer, see replicas.h.
#pragma once

#include "device/sm90/ptx.cuh"
#include "device/sm90/replicas.h"

namespace vigil::device::sm90 {

// Which half of the L2 the multiprocessor is next to: words the parity of whose address' kHalfBits is this. One thread
// asks the L2 for a word and its replica in turn by atomic operations, which no cache on the way answers; 300 clocks
// are near, 510 far. `none` is 0, which the compiler must not know: so each operation is issued when the one before it
// is back, and a clock that is read behind its issue tells how long that took.
VIGIL_DEVICE std::uint32_t find_near_half(float* word, std::uint32_t none) {
    constexpr int kTries = 8;
    auto* first = reinterpret_cast<std::uint32_t*>(word);
    std::uint32_t least[2] = {~0u, ~0u};
    std::uint32_t seen = 0;
    VIGIL_UNROLL_BY(1)
    for (int i = 0; i < kTries; ++i) {
        VIGIL_UNROLL
        for (int other = 0; other < 2; ++other) {
            std::uint32_t begin, end;
            seen = ask_l2(first + other * kReplicaFloats + (seen & none), begin);
            seen = ask_l2(first + other * kReplicaFloats + (seen & none), end);
            least[other] = min(least[other], end - begin);
        }
    }
    const auto address = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(word));
    return (static_cast<std::uint32_t>(__popc(address & kHalfBits)) + (least[1] < least[0] ? 1 : 0)) & 1;
}

// How far behind the first replica of a word, which is at `p`, the nearer one is, in floats: 0 or kReplicaFloats. For
// all of its 4 KB.
VIGIL_DEVICE int nearer_replica(const float* p, std::uint32_t near_half) {
    const auto address = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(p));
    return static_cast<int>((static_cast<std::uint32_t>(__popc(address & kHalfBits)) ^ near_half) & 1) * kReplicaFloats;
}

}  // namespace vigil::device::sm90
