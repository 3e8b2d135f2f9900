// Random tensor data, written straight in the blocks of its type. Every group of 256 weights has random numbers of its
// own, a function of (key, group), so any thread can make any part and the data is always the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "host/gguf/gguf.h"

namespace vigil::synth {

inline constexpr std::uint64_t group_weights = 256;

// The bytes of a whole group.
std::uint64_t group_bytes(gguf::TensorType type);

// The key of a tensor's random numbers.
std::uint64_t tensor_key(std::uint64_t seed, std::string_view tensor_name);

struct Spread {
    float mean;
    float deviation;
};

// Fills `out` with whole blocks of `type`, beginning with group `first_group` of the tensor; the last group may be cut
// short. The weights are uniform around the mean (0 for quantised types) with that standard deviation; scales of
// quantised blocks vary by a quarter up and down.
void fill_random(gguf::TensorType type, Spread spread, std::uint64_t key, std::uint64_t first_group,
                 std::span<std::byte> out);

}  // namespace vigil::synth
