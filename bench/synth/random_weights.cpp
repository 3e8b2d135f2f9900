#include "bench/synth/random_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "host/gguf/block_types.h"
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
        packed.set(i, scale, std::min(scale + differences[(bits >> 5) & 3], 63));
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

// Scales from 8 to 15 and minima one away from them.
void make(gguf::BlockQ2_K& block, float deviation, RandomBits& random) {
    constexpr float deviation_of_4 = 1.118f;
    constexpr float typical_scale = 11.726f;  // root of the mean square
    const float d = random.jitter() * deviation / (deviation_of_4 * typical_scale);
    block.d = float_to_half(d);
    block.dmin = float_to_half(1.5f * d);
    random.fill(block.quants);
    std::uint64_t bits = random.next();
    for (auto& scales : block.scales) {
        const unsigned scale = 8 + (bits & 7);
        const unsigned minimum = (bits & 8) != 0 ? std::min(scale + 1, 15u) : scale - 1;
        scales = static_cast<std::uint8_t>(scale | (minimum << 4));
        bits >>= 4;
    }
}

// Scales of 6 bits with sign, of 16 to 31.
template <typename Block>
void make_signed_scales(Block& block, int n_groups, RandomBits& random) {
    for (int group = 0; group < n_groups; ++group) {
        const auto bits = random.next();
        const int magnitude = 16 + static_cast<int>(bits & 15);
        block.set_scale(group, (bits & 16) != 0 ? magnitude : -magnitude);
    }
}

constexpr float typical_signed_scale = 23.948f;  // root of the mean square of 16 to 31

void make(gguf::BlockQ3_K& block, float deviation, RandomBits& random) {
    constexpr float deviation_of_8 = 2.345f;  // of −4 to 3 around 0
    block = {};
    make_signed_scales(block, 16, random);
    block.d = float_to_half(random.jitter() * deviation / (deviation_of_8 * typical_signed_scale));
    random.fill(block.third_bits);
    random.fill(block.quants);
}

constexpr float deviation_of_iq4 = 67.439f;  // of iq4_values around 0

void make(gguf::BlockIQ4_NL& block, float deviation, RandomBits& random) {
    block.d = float_to_half(random.sign() * random.jitter() * deviation / deviation_of_iq4);
    random.fill(block.nibbles);
}

void make(gguf::BlockIQ4_XS& block, float deviation, RandomBits& random) {
    block = {};
    make_signed_scales(block, 8, random);
    block.d = float_to_half(random.jitter() * deviation / (deviation_of_iq4 * typical_signed_scale));
    random.fill(block.nibbles);
}

// Scales are powers of two: the one below the wanted scale or its double, in the mixture that has its mean square.
void make(gguf::BlockMXFP4& block, float deviation, RandomBits& random) {
    constexpr float deviation_of_mxfp4 = 5.852f;  // of mxfp4_doubled_values
    const float scale = deviation / deviation_of_mxfp4;
    const int exponent = std::ilogb(scale);
    const float ratio = std::ldexp(scale, -exponent);  // 1 to 2
    const float part_of_double = (ratio * ratio - 1) / 3;
    const bool is_double = static_cast<float>(random.next() >> 40) * 0x1p-24f < part_of_double;
    block.exponent = static_cast<std::uint8_t>(exponent + 128 + (is_double ? 1 : 0));
    random.fill(block.nibbles);
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
        const bool has_blocks =
            gguf::with_block_of(type, [&]<typename Block>() { make_group<Block>(part, spread.deviation, random); });
        if (has_blocks) continue;
        if (type == TensorType::F16) {
            make_floats<std::uint16_t, gguf::float_to_half>(part, spread, random);
        } else if (type == TensorType::BF16) {
            make_floats<std::uint16_t, gguf::float_to_bfloat16>(part, spread, random);
        } else {
            make_floats<float, same>(part, spread, random);
        }
    }
}

}  // namespace vigil::synth
