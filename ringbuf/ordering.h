// The only four ways memory is ordered between the host and the kernel, and between blocks.
//
// `load_acquire` and `store_release` order at system scope (host and device), the `_device` twins among the
// blocks of one device. Each call site says which store or load it pairs with. `load_relaxed` and
// `store_relaxed` move one word whole, without order and without a cached copy, for words that say themselves
// whether they are valid (a sequence number inside).
//
// From sm_70 these are the PTX memory model's instructions. Before it there is none: volatile accesses,
// which go to L2 or across PCIe each time, with a fence on the side that needs it. On the host they are the
// compiler's atomics, which ThreadSanitizer understands.
#pragma once

#include <cstdint>
#include <cstring>

// Always inlined on the host too: the CPU machine is compiled once per instruction set, and an out-of-line copy
// made for one of them must not serve the others.
#if defined(__CUDACC__)
#define VIGIL_HD __host__ __device__ __forceinline__
#else
#define VIGIL_HD inline __attribute__((always_inline))
#endif

namespace vigil::ring {

VIGIL_HD std::uint32_t load_acquire(const std::uint32_t* p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
    std::uint32_t v;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
#elif defined(__CUDA_ARCH__)
    const std::uint32_t v = *static_cast<const volatile std::uint32_t*>(p);
    __threadfence_system();
    return v;
#else
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

VIGIL_HD void store_release(std::uint32_t* p, std::uint32_t v) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
#elif defined(__CUDA_ARCH__)
    __threadfence_system();
    *static_cast<volatile std::uint32_t*>(p) = v;
#else
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
#endif
}

VIGIL_HD std::uint64_t load_acquire(const std::uint64_t* p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
    std::uint64_t v;
    asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
    return v;
#elif defined(__CUDA_ARCH__)
    const std::uint64_t v = *static_cast<const volatile std::uint64_t*>(p);
    __threadfence_system();
    return v;
#else
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

VIGIL_HD void store_release(std::uint64_t* p, std::uint64_t v) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
    asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
#elif defined(__CUDA_ARCH__)
    __threadfence_system();
    *static_cast<volatile std::uint64_t*>(p) = v;
#else
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
#endif
}

VIGIL_HD std::uint32_t load_acquire_device(const std::uint32_t* p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
    std::uint32_t v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
#elif defined(__CUDA_ARCH__)
    const std::uint32_t v = *static_cast<const volatile std::uint32_t*>(p);
    __threadfence();
    return v;
#else
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

VIGIL_HD void store_release_device(std::uint32_t* p, std::uint32_t v) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
#elif defined(__CUDA_ARCH__)
    __threadfence();
    *static_cast<volatile std::uint32_t*>(p) = v;
#else
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
#endif
}

VIGIL_HD std::uint64_t load_acquire_device(const std::uint64_t* p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
    std::uint64_t v;
    asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
    return v;
#elif defined(__CUDA_ARCH__)
    const std::uint64_t v = *static_cast<const volatile std::uint64_t*>(p);
    __threadfence();
    return v;
#else
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

VIGIL_HD void store_release_device(std::uint64_t* p, std::uint64_t v) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
    asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
#elif defined(__CUDA_ARCH__)
    __threadfence();
    *static_cast<volatile std::uint64_t*>(p) = v;
#else
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
#endif
}

template <class Word>
VIGIL_HD Word load_relaxed(const Word* p) {
    static_assert(sizeof(Word) == 4 || sizeof(Word) == 8, "one machine word");
#if defined(__CUDA_ARCH__)
    return *static_cast<const volatile Word*>(p);
#else
    return __atomic_load_n(p, __ATOMIC_RELAXED);
#endif
}

template <class Word>
VIGIL_HD void store_relaxed(Word* p, Word v) {
    static_assert(sizeof(Word) == 4 || sizeof(Word) == 8, "one machine word");
#if defined(__CUDA_ARCH__)
    *static_cast<volatile Word*>(p) = v;
#else
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
#endif
}

// Everything this thread wrote, or saw written, before it is visible to host and device before what it writes after.
// Needed where a self-validating word announces data that lies elsewhere.
VIGIL_HD void fence_system() {
#if defined(__CUDA_ARCH__)
    __threadfence_system();
#endif  // the host's ring words are stored with release already
}

// A float as the bits that travel in a word.
VIGIL_HD std::uint32_t float_bits(float v) {
    std::uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

VIGIL_HD float bits_float(std::uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

}  // namespace vigil::ring
