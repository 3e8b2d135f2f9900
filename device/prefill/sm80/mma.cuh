// The instructions of sm_80 and up that prefill is made of, each behind a name: asynchronous copies into shared memory,
// matrix fragments from there, and the FP16 matrix multiply with FP32 sums.
//
// On older machines the bodies trap: launch_prefill never chooses these kernels there.
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

#include "device/prefill/common.cuh"

namespace vigil::device::sm80 {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define VIGIL_SM80_ASM(...) asm volatile(__VA_ARGS__)
#else
#define VIGIL_SM80_ASM(...) __trap()
#endif

VIGIL_DEVICE std::uint32_t shared_address(const void* p) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// 16 bytes from global to shared memory, both aligned to 16; zeros if not `inside`, and nothing is read then.
VIGIL_DEVICE void copy16_async(std::uint32_t to, const void* from, bool inside) {
    const int bytes = inside ? 16 : 0;
    VIGIL_SM80_ASM("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
// Closes a group of copies; wait_copies<N> returns when all but the thread's N latest groups have landed. What other
// threads copied is visible after a block barrier.
VIGIL_DEVICE void commit_copies() {
    VIGIL_SM80_ASM("cp.async.commit_group;" ::: "memory");
}
template <int N>
VIGIL_DEVICE void wait_copies() {
    VIGIL_SM80_ASM("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Four 8x8 matrices of FP16; lane l gives the address of row l % 8 of matrix l / 8, 16 bytes. Each lane receives of
// each matrix the elements [l / 4][2 * (l % 4)] and its right neighbour; `transposed`, [2 * (l % 4)][l / 4] and the one
// below.
VIGIL_DEVICE void load_matrices(std::uint32_t (&m)[4], std::uint32_t address) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(address)
                 : "memory");
#else
    m[0] = m[1] = m[2] = m[3] = address;
    __trap();
#endif
}
VIGIL_DEVICE void load_matrices_transposed(std::uint32_t (&m)[4], std::uint32_t address) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(address)
                 : "memory");
#else
    m[0] = m[1] = m[2] = m[3] = address;
    __trap();
#endif
}

// d[16, 8] += a[16, 16] · b[16, 8]. A lane holds of d the elements [l / 4][2 * (l % 4)], its right neighbour, and the
// same eight rows below; a and b as load_matrices gives them: a's quarters upper left, lower left, upper right, lower
// right; b's upper and lower half.
VIGIL_DEVICE void multiply_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    d[0] += __uint_as_float(a[0] ^ b0 ^ b1);
    __trap();
#endif
}

// Two FP32 values as FP16, `low` in the lower half, rounded to nearest.
VIGIL_DEVICE std::uint32_t pack_halves(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    std::uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

// The same, clamped to what is finite in FP16.
VIGIL_DEVICE std::uint32_t pack_clamped(float low, float high) {
    return pack_halves(fminf(fmaxf(low, -kMaxHalf), kMaxHalf), fminf(fmaxf(high, -kMaxHalf), kMaxHalf));
}

// 2^x to 2 ulp; 0 for -inf.
VIGIL_DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

}  // namespace vigil::device::sm80
