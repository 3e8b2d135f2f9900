// Random bytes for device memory. Memory full of zeroes can be faster and cooler than a model's.
#pragma once

#include <cstddef>

#include "host/device.h"

namespace vigil::bench {

enum class RandomBits {
    any,
    small_halves,  // FP16, uniform in [-1, 1)
};

// The data repeats after this many bytes.
inline constexpr std::size_t kRandomPiece = std::size_t{1} << 20;

// Fills `bytes` of device memory with the same data every time; complete on return.
void upload_random(host::Device& device, void* to, std::size_t bytes, RandomBits bits);

}  // namespace vigil::bench
