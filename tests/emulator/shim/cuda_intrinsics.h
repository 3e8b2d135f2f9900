// What the device code takes from CUDA itself, for the emulator: vector types, bit casts and collectives.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "tests/emulator/lanes.h"

struct uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
// Only the portable path asks, which the emulator does not run.
inline unsigned __cvta_generic_to_shared(const void*) {
    std::abort();
}

template <class To, class From>
inline To bit_cast_to(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
inline unsigned __float_as_uint(float v) {
    return bit_cast_to<unsigned>(v);
}
inline int __float_as_int(float v) {
    return bit_cast_to<int>(v);
}
inline float __uint_as_float(unsigned v) {
    return bit_cast_to<float>(v);
}
inline float __int_as_float(int v) {
    return bit_cast_to<float>(v);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<std::uint64_t>(a) * b >> 32);
}
// Byte i of the result is byte (selector nibble i) of b:a.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const std::uint64_t both = static_cast<std::uint64_t>(b) << 32 | a;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i)
        result |= static_cast<unsigned>(both >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
    return result;
}
template <class T>
inline T __ldg(const T* p) {
    return *p;
}
template <class T>
inline T __ldcg(const T* p) {
    return *p;
}
[[noreturn]] inline void __trap() {
    std::abort();
}
inline int min(int a, int b) {
    return a < b ? a : b;
}
inline unsigned min(unsigned a, unsigned b) {
    return a < b ? a : b;
}
inline int max(int a, int b) {
    return a > b ? a : b;
}
inline unsigned max(unsigned a, unsigned b) {
    return a > b ? a : b;
}
inline float rsqrtf(float x) {
    return 1.0f / std::sqrt(x);
}
inline void sincospif(float x, float* sine, float* cosine) {
    *sine = static_cast<float>(std::sin(static_cast<double>(x) * M_PI));
    *cosine = static_cast<float>(std::cos(static_cast<double>(x) * M_PI));
}

inline void __syncwarp() {
    const std::uint32_t nothing = 0;
    vigil::emulator::collect(&nothing, 1);
}
template <class T>
inline T __shfl_sync(unsigned, T v, int lane) {
    constexpr int kWords = (sizeof(T) + 3) / 4;
    std::uint32_t words[kWords] = {};
    std::memcpy(words, &v, sizeof v);
    const auto all = vigil::emulator::collect(words, kWords);
    std::memcpy(&v, all[lane & 31], sizeof v);
    return v;
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T v, int lanes) {
    return __shfl_sync(mask, v, (vigil::emulator::self().thread % 32) ^ lanes);
}
inline bool __all_sync(unsigned, bool predicate) {
    const std::uint32_t mine = predicate ? 1 : 0;
    const auto all = vigil::emulator::collect(&mine, 1);
    for (int lane = 0; lane < 32; ++lane) predicate = predicate && all[lane][0] != 0;
    return predicate;
}
inline unsigned __ballot_sync(unsigned, bool predicate) {
    const std::uint32_t mine = predicate ? 1 : 0;
    const auto all = vigil::emulator::collect(&mine, 1);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane) votes |= all[lane][0] << lane;
    return votes;
}
inline int __popc(unsigned v) {
    return std::popcount(v);
}
inline unsigned __reduce_add_sync(unsigned, unsigned v) {
    const auto all = vigil::emulator::collect(&v, 1);
    unsigned total = 0;
    for (int lane = 0; lane < 32; ++lane) total += static_cast<unsigned>(all[lane][0]);
    return total;
}
inline unsigned __reduce_max_sync(unsigned, unsigned v) {
    const auto all = vigil::emulator::collect(&v, 1);
    for (int lane = 0; lane < 32; ++lane) v = max(v, static_cast<unsigned>(all[lane][0]));
    return v;
}
