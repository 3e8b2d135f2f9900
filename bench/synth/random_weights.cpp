#include "bench/synth/random_weights.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "bench/synth/model_spec.h"
#include "host/gguf/blocks.h"
#include "host/gguf/float16.h"

namespace vigil::synth {
namespace {

using gguf::float_to_half;
using gguf::TensorType;

// SplitMix64 (Steele, Lea, Flood 2014): a counter and a mixing function, good enough for weights and fast.
std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

class RandomBits {
   public:
    RandomBits(std::uint64_t key, std::uint64_t group) : state_(mix(key + mix(group))) {}

    std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15u); }

    template <typename T, std::size_t n>
    void fill(T (&values)[n]) {
        static_assert(sizeof values % sizeof(std::uint64_t) == 0 || sizeof values == 4);
        for (std::size_t i = 0; i < sizeof values; i += sizeof(std::uint64_t)) {
            const auto bits = next();
            std::memcpy(reinterpret_cast<char*>(values) + i, &bits, std::min(sizeof bits, sizeof values - i));
        }
    }

    // From 0.75 to 1.25.
    float jitter() { return 0.75f + static_cast<float>(next() >> 40) * 0x1p-25f; }

    float sign() { return (next() >> 63) != 0 ? -1.0f : 1.0f; }

   private:
    std::uint64_t state_;
};

// The standard deviation of a whole number that is uniform over n values in sequence.
constexpr float deviation_of_16 = 4.610f;
constexpr float deviation_of_32 = 9.233f;
constexpr float deviation_of_64 = 18.473f;
constexpr float deviation_of_255 = 73.612f;

// One overload of make() per block: a block whose weights have mean 0 and standard deviation `deviation`. The formats
// with an odd range around zero (−8 … 7) get scales of either sign, so that the mean over blocks is 0.

void make(gguf::BlockQ4_0& block, float deviation, RandomBits& random) {
    block.d = float_to_half(random.sign() * random.jitter() * deviation / deviation_of_16);
    random.fill(block.nibbles);
}

void make(gguf::BlockQ4_1& block, float deviation, RandomBits& random) {
    const float d = random.jitter() * deviation / deviation_of_16;
    block.d = float_to_half(d);
    block.m = float_to_half(-7.5f * d);
    random.fill(block.nibbles);
}

void make(gguf::BlockQ5_0& block, float deviation, RandomBits& random) {
    block.d = float_to_half(random.sign() * random.jitter() * deviation / deviation_of_32);
    random.fill(block.fifth_bits);
    random.fill(block.nibbles);
}

void make(gguf::BlockQ5_1& block, float deviation, RandomBits& random) {
    const float d = random.jitter() * deviation / deviation_of_32;
    block.d = float_to_half(d);
    block.m = float_to_half(-15.5f * d);
    random.fill(block.fifth_bits);
    random.fill(block.nibbles);
}

void make(gguf::BlockQ8_0& block, float deviation, RandomBits& random) {
    block.d = float_to_half(random.jitter() * deviation / deviation_of_255);
    random.fill(block.q);
    for (auto& q : block.q) q = std::max(q, std::int8_t{-127});  // ggml never writes −128
}

// Scales from 32 to 63 and minima within two of them, so that a reader that mixes them up is found out.
gguf::PackedScalesK make_scales(RandomBits& random) {
    gguf::PackedScalesK packed{};
    constexpr int differences[] = {-2, -1, 1, 2};
    std::uint64_t bits = random.next();
    for (int i = 0; i < 8; ++i, bits >>= 8) {
        const int scale = 32 + static_cast<int>(bits & 31);
        const int minimum = std::min(scale + differences[(bits >> 5) & 3], 63);
        if (i < 4) {
            packed.bytes[i] = static_cast<std::uint8_t>(packed.bytes[i] | scale);
            packed.bytes[i + 4] = static_cast<std::uint8_t>(packed.bytes[i + 4] | minimum);
        } else {
            packed.bytes[i + 4] = static_cast<std::uint8_t>((scale & 15) | ((minimum & 15) << 4));
            packed.bytes[i - 4] = static_cast<std::uint8_t>(packed.bytes[i - 4] | (scale >> 4 << 6));
            packed.bytes[i] = static_cast<std::uint8_t>(packed.bytes[i] | (minimum >> 4 << 6));
        }
    }
    return packed;
}

constexpr float mean_scale = 47.5f;  // of make_scales()

void make(gguf::BlockQ4_K& block, float deviation, RandomBits& random) {
    const float d = random.jitter() * deviation / (deviation_of_16 * mean_scale);
    block.d = float_to_half(d);
    block.dmin = float_to_half(7.5f * d);
    block.scales = make_scales(random);
    random.fill(block.nibbles);
}

void make(gguf::BlockQ5_K& block, float deviation, RandomBits& random) {
    const float d = random.jitter() * deviation / (deviation_of_32 * mean_scale);
    block.d = float_to_half(d);
    block.dmin = float_to_half(15.5f * d);
    block.scales = make_scales(random);
    random.fill(block.fifth_bits);
    random.fill(block.nibbles);
}

void make(gguf::BlockQ6_K& block, float deviation, RandomBits& random) {
    random.fill(block.nibbles);
    random.fill(block.upper_bits);
    random.fill(block.scales);
    for (auto& scale : block.scales) {
        const int magnitude = 64 + (scale & 63);
        scale = static_cast<std::int8_t>(scale < 0 ? -magnitude : magnitude);
    }
    constexpr float mean_magnitude = 95.5f;
    block.d = float_to_half(random.jitter() * deviation / (deviation_of_64 * mean_magnitude));
}

template <typename Block>
void make_group(std::span<std::byte> out, float deviation, RandomBits& random) {
    for (std::size_t at = 0; at < out.size(); at += sizeof(Block)) {
        Block block;
        make(block, deviation, random);
        std::memcpy(out.data() + at, &block, sizeof block);
    }
}

template <typename T, T (*convert)(float) noexcept>
void make_floats(std::span<std::byte> out, Spread spread, RandomBits& random) {
    std::uint16_t bits[group_weights];
    random.fill(bits);
    constexpr float root_of_3 = 1.7320508f;  // half the width of a uniform distribution of deviation 1
    const float step = spread.deviation * root_of_3 / 32768;
    T values[group_weights];
    for (std::size_t i = 0; i < group_weights; ++i) {
        values[i] = convert(spread.mean + step * (static_cast<float>(bits[i]) - 32767.5f));
    }
    std::memcpy(out.data(), values, out.size());
}

float same(float value) noexcept {
    return value;
}

}  // namespace

std::uint64_t group_bytes(TensorType type) {
    const auto& format = gguf::traits(type);
    return group_weights / format.block_weights * format.block_bytes;
}

std::uint64_t tensor_key(std::uint64_t seed, std::string_view tensor_name) {
    std::uint64_t key = mix(seed);
    for (const char c : tensor_name) key = mix(key ^ static_cast<unsigned char>(c));
    return key;
}

void fill_random(TensorType type, Spread spread, std::uint64_t key, std::uint64_t first_group,
                 std::span<std::byte> out) {
    const std::uint64_t size = group_bytes(type);
    for (std::uint64_t at = 0, group = first_group; at < out.size(); at += size, ++group) {
        RandomBits random(key, group);
        const auto part = out.subspan(at, std::min<std::uint64_t>(size, out.size() - at));
        switch (type) {
            case TensorType::F32:
                make_floats<float, same>(part, spread, random);
                break;
            case TensorType::F16:
                make_floats<std::uint16_t, gguf::float_to_half>(part, spread, random);
                break;
            case TensorType::BF16:
                make_floats<std::uint16_t, gguf::float_to_bfloat16>(part, spread, random);
                break;
            case TensorType::Q4_0:
                make_group<gguf::BlockQ4_0>(part, spread.deviation, random);
                break;
            case TensorType::Q4_1:
                make_group<gguf::BlockQ4_1>(part, spread.deviation, random);
                break;
            case TensorType::Q5_0:
                make_group<gguf::BlockQ5_0>(part, spread.deviation, random);
                break;
            case TensorType::Q5_1:
                make_group<gguf::BlockQ5_1>(part, spread.deviation, random);
                break;
            case TensorType::Q8_0:
                make_group<gguf::BlockQ8_0>(part, spread.deviation, random);
                break;
            case TensorType::Q4_K:
                make_group<gguf::BlockQ4_K>(part, spread.deviation, random);
                break;
            case TensorType::Q5_K:
                make_group<gguf::BlockQ5_K>(part, spread.deviation, random);
                break;
            case TensorType::Q6_K:
                make_group<gguf::BlockQ6_K>(part, spread.deviation, random);
                break;
            default:
                throw Error("no random blocks of type " + std::string(gguf::traits(type).name));
        }
    }
}

}  // namespace vigil::synth
