// Where published vectors lie twice. An H200's L2 cache has two halves, and half of the multiprocessors next to each:
// what others have just written comes sooner from the own half. So a value is published into both, and a block reads
// the replica that is nearer. No value depends on any of this, only when it comes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vigil::device::sm90 {

// A page of 4 KB is in the half that the parity of these bits of its address tells, which for all of 2 MB are the same
// two halves (found by timing atomic operations). On a GPU of another kind a block's nearer replica may be no nearer.
constexpr std::uint32_t kHalfBits = 1u << 12 | 1u << 13 | 1u << 15 | 1u << 17 | 1u << 19;

// So a word's replica is in the other half if it is this far behind it: in bytes, and in floats.
constexpr std::uint32_t kReplicaDistance = 1u << 19;
constexpr int kReplicaFloats = kReplicaDistance / sizeof(float);
// Of what the first replicas begin at, so that a word's address differs from its replica's in one bit; and of each
// vector, so that of every 16 KB the second 8 are not in the half that the first are in.
constexpr std::size_t kReplicasAlignment = 2 * std::size_t{kReplicaDistance};
constexpr std::size_t kVectorAlignment = 1u << 14;

}  // namespace vigil::device::sm90
