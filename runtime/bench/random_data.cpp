#include "runtime/bench/random_data.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "host/gguf/float16.h"

namespace vigil::bench {

void upload_random(host::Device& device, void* to, std::size_t bytes, RandomBits bits) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> small(-1.0f, 1.0f);
    std::vector<std::uint16_t> piece(kRandomPiece / sizeof(std::uint16_t));
    for (auto& half : piece)
        half = bits == RandomBits::any ? static_cast<std::uint16_t>(random()) : gguf::float_to_half(small(random));
    for (std::size_t done = 0; done < bytes; done += kRandomPiece)
        device.upload(static_cast<std::byte*>(to) + done, piece.data(), std::min(kRandomPiece, bytes - done));
    device.flush_uploads();
}

}  // namespace vigil::bench
