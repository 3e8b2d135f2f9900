// Philox4x32-10, the counter-based random generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011): four 32-bit words for a counter and a key, with no state to carry.
#pragma once

#include <cstdint>

#include "device/seams/qualifiers.h"

namespace vigil::device {

struct Philox {
    std::uint32_t words[4];
};

VIGIL_DEVICE Philox philox(std::uint64_t key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3) {
    constexpr std::uint32_t kMultiplier0 = 0xD2511F53u;
    constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57u;
    constexpr std::uint32_t kWeyl0 = 0x9E3779B9u;
    constexpr std::uint32_t kWeyl1 = 0xBB67AE85u;
    auto k0 = static_cast<std::uint32_t>(key);
    auto k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = static_cast<std::uint64_t>(kMultiplier0) * c0;
        const std::uint64_t product1 = static_cast<std::uint64_t>(kMultiplier1) * c2;
        const std::uint32_t next0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ k0;
        const std::uint32_t next2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<std::uint32_t>(product1);
        c3 = static_cast<std::uint32_t>(product0);
        c0 = next0;
        c2 = next2;
        k0 += kWeyl0;
        k1 += kWeyl1;
    }
    return {{c0, c1, c2, c3}};
}

// Word `i` (0 … 3), chosen without indexing, which would put the words into local memory.
VIGIL_DEVICE std::uint32_t philox_word(const Philox& p, int i) {
    const std::uint32_t low = i == 0 ? p.words[0] : p.words[1];
    const std::uint32_t high = i == 2 ? p.words[2] : p.words[3];
    return i < 2 ? low : high;
}

}  // namespace vigil::device
