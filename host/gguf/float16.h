// The small float formats to FP32 and back: IEEE half, bfloat16 and the power of two that scales an MXFP4 block.
// Branches become selects, so that loops over these functions vectorise on any machine.
#pragma once

#include <bit>
#include <cstdint>

namespace vigil::gguf {

inline float half_to_float(std::uint16_t half) noexcept {
    const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
    const std::uint32_t magnitude = half & 0x7fffu;
    const std::uint32_t exponent = magnitude & 0x7c00u;
    // Rebias from 15 to 127; infinity and NaN keep an exponent of all ones.
    const std::uint32_t rebias = exponent == 0x7c00u ? 224u << 23 : 112u << 23;
    const std::uint32_t normal = (magnitude << 13) + rebias;
    // A subnormal is a multiple of 2^-24, the distance between floats at 0.5.
    const auto subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude | 0x3f000000u) - 0.5f);
    return std::bit_cast<float>(sign | (exponent == 0 ? subnormal : normal));
}

// Rounds to nearest even; overflow becomes infinity.
inline std::uint16_t float_to_half(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    constexpr std::uint32_t infinity = 0x7f800000u;
    constexpr std::uint32_t least_normal = 113u << 23;  // 2^-14
    constexpr std::uint32_t overflow = 143u << 23;      // 2^16

    const std::uint32_t round = 0xfffu + ((magnitude >> 13) & 1u);
    const std::uint32_t normal = (magnitude - (112u << 23) + round) >> 13;
    // Adding 0.5 makes the FP32 unit round at 2^-24, the step of half's subnormals.
    const std::uint32_t clamped = magnitude < least_normal ? magnitude : 0u;
    const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(clamped) + 0.5f) - 0x3f000000u;
    const std::uint32_t quiet_nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);

    std::uint32_t result = magnitude < least_normal ? subnormal : normal;
    result = magnitude >= overflow ? 0x7c00u : result;
    result = magnitude > infinity ? quiet_nan : result;
    return static_cast<std::uint16_t>(sign | result);
}

inline float bfloat16_to_float(std::uint16_t bits) noexcept {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

// Rounds to nearest even; overflow becomes infinity.
inline std::uint16_t float_to_bfloat16(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t quiet_nan = (bits >> 16) | 0x40u;
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return static_cast<std::uint16_t>(is_nan ? quiet_nan : rounded);
}

// 2^(exponent − 128): half of what an E8M0 exponent stands for, because MXFP4's table holds doubled values.
inline float mxfp4_scale(std::uint8_t exponent) noexcept {
    const std::uint32_t subnormal = 0x00200000u << (exponent & 1u);
    return std::bit_cast<float>(exponent < 2 ? subnormal : (std::uint32_t{exponent} - 1u) << 23);
}

}  // namespace vigil::gguf
