// Arithmetic on numbers from untrusted files: nothing instead of a wrapped-around result.
#pragma once

#include <cstdint>
#include <optional>

namespace vigil::gguf {

inline std::optional<std::uint64_t> checked_multiply(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t product;
    if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
    return product;
}

inline std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
    std::uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
    return sum;
}

// The smallest multiple of `alignment` (a power of two) that is at least `value`.
inline std::optional<std::uint64_t> checked_align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
    const auto padded = checked_add(value, alignment - 1);
    if (!padded) return std::nullopt;
    return *padded & ~(alignment - 1);
}

}  // namespace vigil::gguf
