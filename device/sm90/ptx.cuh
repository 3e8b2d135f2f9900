// The instructions of sm_90 that the stream and its consumers are made of, each behind a name.
#pragma once

#include <cstdint>

#include "device/seams/qualifiers.h"

namespace vigil::device::sm90 {

// Addresses within shared memory are 32 bits: fewer registers, and what the instructions take.
using Shared = std::uint32_t;

VIGIL_DEVICE Shared shared_address(const void* p) {
    return static_cast<Shared>(__cvta_generic_to_shared(p));
}

VIGIL_DEVICE uint4 load_shared16(Shared p) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(p));
    return v;
}
// Leaves `v` as it is where the predicate is false.
VIGIL_DEVICE void load_shared16_if(bool predicate, Shared p, uint4& v) {
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "setp.ne.u32 p, %5, 0;\n"
        "@p ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];\n"
        "}"
        : "+r"(v.x), "+r"(v.y), "+r"(v.z), "+r"(v.w)
        : "r"(p), "r"(static_cast<unsigned>(predicate)));
}
VIGIL_DEVICE uint2 load_shared8(Shared p) {
    uint2 v;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(p));
    return v;
}
VIGIL_DEVICE std::uint32_t load_shared4(Shared p) {
    std::uint32_t v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(p));
    return v;
}
VIGIL_DEVICE std::uint32_t load_shared2(Shared p) {
    std::uint16_t v;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(p));
    return v;
}
VIGIL_DEVICE float load_shared_float(Shared p) {
    return __uint_as_float(load_shared4(p));
}
VIGIL_DEVICE void store_shared_float(Shared p, float v) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(p), "f"(v) : "memory");
}
VIGIL_DEVICE void store_shared4(Shared p, std::uint32_t v) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(p), "r"(v) : "memory");
}
VIGIL_DEVICE void store_shared16(Shared p, float a, float b, float c, float d) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(p), "f"(a), "f"(b), "f"(c), "f"(d) : "memory");
}
VIGIL_DEVICE void store_shared8(Shared p, std::uint32_t a, std::uint32_t b) {
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(p), "r"(a), "r"(b) : "memory");
}

// ---- words that one warp of the block writes and another polls ----------------------------------------------

// racecheck does not know that such words are meant, nor that a barrier of a warp orders what its lanes read or wrote
// before what one of them says for all. A build for it (VIGIL_RACECHECK) does both in ways that it knows, if more
// slowly.
#ifdef VIGIL_RACECHECK
constexpr bool kForRacecheck = true;
#else
constexpr bool kForRacecheck = false;
#endif

VIGIL_DEVICE void set_word(std::uint32_t* p, std::uint32_t v) {
    if (kForRacecheck)
        atomicExch(p, v);
    else
        ring::store_relaxed(p, v);
}
VIGIL_DEVICE std::uint32_t poll_word(std::uint32_t* p) {
    return kForRacecheck ? atomicOr(p, 0u) : ring::load_relaxed(p);
}

// ---- the block's threads ------------------------------------------------------------------------------------

// The word at `p` in device memory, by an operation that the L2 carries out itself, and the multiprocessor's clock when
// it has been issued.
VIGIL_DEVICE std::uint32_t ask_l2(std::uint32_t* p, std::uint32_t& issued) {
    std::uint32_t word;
    asm volatile(
        "atom.relaxed.gpu.global.or.b32 %0, [%2], 0;\n\t"
        "mov.u32 %1, %%clock;"
        : "=r"(word), "=r"(issued)
        : "l"(p)
        : "memory");
    return word;
}

// Read anew at each use, for the reason that CudaTeam::block() gives.
VIGIL_DEVICE int thread_index() {
    int index;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
    return index;
}
// A barrier of all the block's threads.
VIGIL_DEVICE void block_barrier() {
    __syncthreads();
}
// A barrier of the block's first `Threads` threads, whose warps need not be converged.
template <int Threads>
VIGIL_DEVICE void named_barrier() {
    asm volatile("barrier.cta.sync 1, %0;" ::"n"(Threads) : "memory");
}

// ---- mbarrier: a count of arrivals and of bytes under way; its phases alternate in parity -------------------

VIGIL_DEVICE void barrier_init(Shared barrier, std::uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialised barriers visible to the copy engine.
VIGIL_DEVICE void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Arrives once and announces bytes.
VIGIL_DEVICE void barrier_expect(Shared barrier, std::uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
VIGIL_DEVICE void barrier_arrive(Shared barrier, std::uint32_t count) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
// Whether the phase of that parity is over; waits a little before it says no.
VIGIL_DEVICE bool barrier_passed(Shared barrier, std::uint32_t parity) {
    std::uint32_t passed;
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(passed)
        : "r"(barrier), "r"(parity)
        : "memory");
    return passed != 0;
}

// One contiguous copy of `bytes` (a multiple of 16, as both addresses are) from device memory, announced to `barrier`.
VIGIL_DEVICE void bulk_copy(Shared to, const void* from, std::uint32_t bytes, Shared barrier) {
    // Weights are read once per token: first to leave the L2.
    constexpr std::uint64_t kEvictFirst = 0x12f0000000000000ull;
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::
            "r"(to),
        "l"(from), "r"(bytes), "r"(barrier), "l"(kEvictFirst)
        : "memory");
}

// ---- registers among warps: what the producer's warps give up, the others take ------------------------------

template <int Registers>
VIGIL_DEVICE void give_up_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
VIGIL_DEVICE void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}

// ---- matrix instructions: 16 rows (g and g + 8 of lane 4g + t) by 8 columns (2t and 2t + 1) -----------------

// c = a · b over 32 signed bytes: a = (g, 4t …), (g + 8, 4t …), (g, 4t + 16 …), (g + 8, 4t + 16 …).
VIGIL_DEVICE void mma_int8(int (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                           std::uint32_t b0, std::uint32_t b1) {
    const int zero = 0;
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %10, %10, %10};"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(zero));
}
// Likewise, with unsigned bytes as a.
VIGIL_DEVICE void mma_uint8(int (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                            std::uint32_t b0, std::uint32_t b1) {
    const int zero = 0;
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %10, %10, %10};"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(zero));
}
// c += a · b over 16 halves.
VIGIL_DEVICE void mma_half(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                           std::uint32_t b0, std::uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// Over 8 halves: a = (g, 2t …), (g + 8, 2t …).
VIGIL_DEVICE void mma_half(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b0) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(b0));
}
VIGIL_DEVICE void mma_bfloat(float (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t a2, std::uint32_t a3,
                             std::uint32_t b0, std::uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The sum of the products of two words' four bytes, without sign and with.
VIGIL_DEVICE std::uint32_t dot_bytes(std::uint32_t a, std::uint32_t b) {
    return __dp4a(a, b, 0u);
}
VIGIL_DEVICE std::int32_t dot_bytes(std::int32_t a, std::int32_t b) {
    return __dp4a(a, b, 0);
}

// Of 8 rows of 8 halves, of which lane 4g + t has columns 2t and 2t + 1 of row g: rows 2t and 2t + 1 of column g.
VIGIL_DEVICE std::uint32_t transpose_halves(std::uint32_t v) {
    std::uint32_t w;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(w) : "r"(v));
    return w;
}

// Asks for the line of memory to come into L2.
VIGIL_DEVICE void prefetch_l2(const void* p) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

// The same value, but new to the compiler: what follows from it is not computed for all layers before the loop over
// them and held in registers that the phases are short of.
template <class T>
VIGIL_DEVICE T anew(T v) {
    if constexpr (sizeof(T) == 8)
        asm volatile("" : "+l"(v));
    else
        asm volatile("" : "+r"(v));
    return v;
}

// 1 / x in one instruction, right to one unit in the last place; 0 for what is larger than 2^126.
VIGIL_DEVICE float reciprocal_approximate(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// 2^x in one instruction, right to two units in the last place; results below the normal numbers are 0.
VIGIL_DEVICE float exp2_approximate(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

}  // namespace vigil::device::sm90
