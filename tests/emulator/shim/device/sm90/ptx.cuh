// device/sm90/ptx.cuh for the emulator: the same functions, with the instructions' documented results.
#pragma once

#include <cstdint>

#include "device/seams/qualifiers.h"
#include "device/sm90/replicas.h"
#include "tests/emulator/shim/cuda_fp16.h"

namespace vigil::device::sm90 {

using Shared = std::uint32_t;  // from the start of the block's shared memory

inline std::byte* at(Shared p) {
    return emulator::self().block->shared + p;
}
inline Shared shared_address(const void* p) {
    return static_cast<Shared>(static_cast<const std::byte*>(p) - emulator::self().block->shared);
}
template <class T>
inline T load_as(Shared p) {
    if (p % sizeof(T) != 0) std::abort();  // as the hardware does
    T v;
    std::memcpy(&v, at(p), sizeof v);
    return v;
}
template <class T>
inline void store_as(Shared p, const T& v) {
    if (p % sizeof(T) != 0) std::abort();
    std::memcpy(at(p), &v, sizeof v);
}

inline uint4 load_shared16(Shared p) {
    return load_as<uint4>(p);
}
inline void load_shared16_if(bool predicate, Shared p, uint4& v) {
    if (predicate) v = load_shared16(p);
}
inline uint2 load_shared8(Shared p) {
    return load_as<uint2>(p);
}
inline std::uint32_t load_shared4(Shared p) {
    return load_as<std::uint32_t>(p);
}
inline std::uint32_t load_shared2(Shared p) {
    return load_as<std::uint16_t>(p);
}
inline float load_shared_float(Shared p) {
    return load_as<float>(p);
}
inline void store_shared_float(Shared p, float v) {
    store_as(p, v);
}
inline void store_shared4(Shared p, std::uint32_t v) {
    store_as(p, v);
}
inline void store_shared8(Shared p, std::uint32_t a, std::uint32_t b) {
    store_as(p, uint2{a, b});
}
inline void store_shared16(Shared p, float a, float b, float c, float d) {
    store_as(p, float4{a, b, c, d});
}
constexpr bool kForRacecheck = false;
inline void set_word(std::uint32_t* p, std::uint32_t v) {
    *p = v;
}
inline std::uint32_t poll_word(std::uint32_t* p) {
    return *p;
}

// Half of the blocks are near to what is far for the others.
inline std::uint32_t ask_l2(const std::uint32_t* p, std::uint32_t& issued) {
    static thread_local std::uint32_t now = 0;
    static thread_local std::uint32_t under_way = 0;
    now += under_way;
    issued = now;
    const auto half = static_cast<int>(__builtin_parityl(reinterpret_cast<std::uintptr_t>(p) & kHalfBits));
    under_way = half == emulator::self().block->index % 2 ? 300 : 510;
    return *p;
}

inline int thread_index() {
    return emulator::self().thread;
}
inline void block_barrier() {
    emulator::barrier(0, static_cast<int>(emulator::self().block->warps.size()) * emulator::kWarpSize);
}
template <int Threads>
inline void named_barrier() {
    emulator::barrier(1, Threads);
}

// An mbarrier's 64 bits.
struct Mbarrier {
    std::int32_t bytes;  // announced and not yet there
    std::uint16_t arrivals;
    std::uint8_t pending;
    std::uint8_t parity;  // of the phase under way
};
inline void pass_if_complete(Mbarrier& b) {
    if (b.pending != 0 || b.bytes != 0) return;
    b.pending = static_cast<std::uint8_t>(b.arrivals);
    b.parity ^= 1;
}
inline void arrive_at(Shared barrier, std::uint32_t count, std::int32_t bytes) {
    auto b = load_as<Mbarrier>(barrier);
    if (count > b.pending) std::abort();  // undefined on the hardware
    b.pending = static_cast<std::uint8_t>(b.pending - count);
    b.bytes += bytes;
    pass_if_complete(b);
    store_as(barrier, b);
}
inline void barrier_init(Shared barrier, std::uint32_t arrivals) {
    store_as(barrier, Mbarrier{0, static_cast<std::uint16_t>(arrivals), static_cast<std::uint8_t>(arrivals), 0});
}
inline void barrier_init_fence() {}
inline void barrier_expect(Shared barrier, std::uint32_t bytes) {
    arrive_at(barrier, 1, static_cast<std::int32_t>(bytes));
}
inline void barrier_arrive(Shared barrier, std::uint32_t count) {
    arrive_at(barrier, count, 0);
}
inline bool barrier_passed(Shared barrier, std::uint32_t parity) {
    if (load_as<Mbarrier>(barrier).parity != parity) return true;
    emulator::yield();
    return load_as<Mbarrier>(barrier).parity != parity;
}

inline void bulk_copy(Shared to, const void* from, std::uint32_t bytes, Shared barrier) {
    if (to % 16 != 0 || reinterpret_cast<std::uintptr_t>(from) % 16 != 0 || bytes % 16 != 0) std::abort();
    std::byte* shared = emulator::self().block->shared;
    std::memset(shared + to, 0xff, bytes);  // nobody may still read what was there
    emulator::copy_later(shared + to, from, bytes, [shared, barrier, bytes] {
        Mbarrier b;
        std::memcpy(&b, shared + barrier, sizeof b);
        b.bytes -= static_cast<std::int32_t>(bytes);
        pass_if_complete(b);
        std::memcpy(shared + barrier, &b, sizeof b);
    });
}

template <int>
inline void give_up_registers() {}
template <int>
inline void take_registers() {}

// c += a · b over `depth` elements, as the documentation lays them over the lanes; lane 4g + t has the words (row g,
// element t), (g + 8, t), (g, t + 4), (g + 8, t + 4) of a and (t, column g), (t + 4, g) of b, `Per` elements to a word.
// decode(word, i) is element i of a word; each lane decodes its own.
template <int Per, class C, class Decode>
inline void multiply_accumulate(C (&c)[4], const std::uint32_t (&words)[6], Decode&& decode) {
    using Element = decltype(decode(0u, 0));
    constexpr int kWordsOf = (Per * sizeof(Element) + 3) / 4;
    static_assert(6 * kWordsOf <= emulator::kMaxWords);
    Element mine[6][Per];
    for (int w = 0; w < 6; ++w)
        for (int i = 0; i < Per; ++i) mine[w][i] = decode(words[w], i);
    std::uint32_t packed[6 * kWordsOf] = {};
    std::memcpy(packed, mine, sizeof mine);
    const auto all = emulator::collect(packed, 6 * kWordsOf);
    const int lane = emulator::self().thread % 32;
    for (int i = 0; i < 4; ++i) {
        const int upper_row = i / 2;
        const int column = lane % 4 * 2 + i % 2;
        for (int half = 0; half < 2; ++half)
            for (int t = 0; t < 4; ++t) {
                const auto* a = reinterpret_cast<const Element*>(all[lane / 4 * 4 + t]) + (upper_row + 2 * half) * Per;
                const auto* b = reinterpret_cast<const Element*>(all[column * 4 + t]) + (4 + half) * Per;
                for (int k = 0; k < Per; ++k) c[i] += static_cast<C>(a[k]) * static_cast<C>(b[k]);
            }
    }
}

inline void mma_int8(int (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                     std::uint32_t b0, std::uint32_t b1) {
    c[0] = c[1] = c[2] = c[3] = 0;
    multiply_accumulate<4>(c, {a0, a1, a2, a3, b0, b1},
                           [](std::uint32_t word, int i) { return static_cast<std::int8_t>(word >> (8 * i)); });
}
// By signed bytes: the lower seven bits, and twice what is half of the eighth.
inline void mma_uint8(int (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                      std::uint32_t b0, std::uint32_t b1) {
    constexpr std::uint32_t kLower = 0x7f7f7f7fu;
    constexpr std::uint32_t kHalfOfUpper = 0x40404040u;
    mma_int8(c, a0 & kLower, a1 & kLower, a2 & kLower, a3 & kLower, b0, b1);
    int upper[4];
    mma_int8(upper, a0 >> 1 & kHalfOfUpper, a1 >> 1 & kHalfOfUpper, a2 >> 1 & kHalfOfUpper, a3 >> 1 & kHalfOfUpper, b0,
             b1);
    for (int i = 0; i < 4; ++i) c[i] += 2 * upper[i];
}
template <class Byte, class Word>
Word sum_of_byte_products(Word a, Word b) {
    Word sum = 0;
    for (int i = 0; i < 4; ++i) sum += Word{static_cast<Byte>(a >> (8 * i))} * Word{static_cast<Byte>(b >> (8 * i))};
    return sum;
}
inline std::uint32_t dot_bytes(std::uint32_t a, std::uint32_t b) {
    return sum_of_byte_products<std::uint8_t>(a, b);
}
inline std::int32_t dot_bytes(std::int32_t a, std::int32_t b) {
    return sum_of_byte_products<std::int8_t>(a, b);
}
inline void mma_half(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                     std::uint32_t b0, std::uint32_t b1) {
    multiply_accumulate<2>(c, {a0, a1, a2, a3, b0, b1}, [](std::uint32_t word, int i) {
        return __half2float({static_cast<std::uint16_t>(word >> (16 * i))});
    });
}
inline void mma_half(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b0) {
    mma_half(c, a0, a1, 0, 0, b0, 0);
}
inline void mma_bfloat(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                       std::uint32_t b0, std::uint32_t b1) {
    multiply_accumulate<2>(c, {a0, a1, a2, a3, b0, b1},
                           [](std::uint32_t word, int i) { return __uint_as_float(word >> (16 * i) << 16); });
}

inline std::uint32_t transpose_halves(std::uint32_t v) {
    const auto all = emulator::collect(&v, 1);
    const int column = emulator::self().thread % 32 / 4;
    const auto element = [&](int row) { return all[4 * row + column / 2][0] >> (column % 2 * 16) & 0xffffu; };
    const int row = emulator::self().thread % 4 * 2;
    return element(row) | element(row + 1) << 16;
}
inline void prefetch_l2(const void*) {}
template <class T>
inline T anew(T v) {
    return v;
}
inline float reciprocal_approximate(float x) {
    const float y = 1.0f / x;
    return std::fabs(y) < 0x1p-126f ? 0.0f : y;
}
inline float exp2_approximate(float x) {
    const float y = std::exp2(x);
    return y < 0x1p-126f ? 0.0f : y;
}

}  // namespace vigil::device::sm90
