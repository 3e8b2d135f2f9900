// The arithmetic leaves on a GPU, portable form (sm_52 up): FP32 arithmetic on 16-byte loads.
//
// Phases call these through overload on the Team; the CPU's twins are in device/cpu/leaves.h. Every multiply-add that
// may fuse is written as one, and the build forbids the compiler to fuse others, so that a phase gives the same bits
// in whatever kernel it is inlined.
#pragma once

#include <cuda_fp16.h>

#include "device/model.h"
#include "device/seams/team_cuda.cuh"

namespace vigil::device {

// A TensorFormat is how eight neighbouring weights are stored and become FP32.
struct F16Format {
    static VIGIL_DEVICE void unpack(const uint4& raw, float (&out)[8]) {
        const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
        VIGIL_UNROLL
        for (int i = 0; i < 4; ++i) {
            __half2 pair;
            memcpy(&pair, &words[i], sizeof pair);
            const float2 values = __half22float2(pair);
            out[2 * i] = values.x;
            out[2 * i + 1] = values.y;
        }
    }
};

struct BF16Format {
    static VIGIL_DEVICE void unpack(const uint4& raw, float (&out)[8]) {
        const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
        VIGIL_UNROLL
        for (int i = 0; i < 4; ++i) {
            out[2 * i] = __uint_as_float(words[i] << 16);
            out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
        }
    }
};

// Weights are read once per token and never written while a kernel runs: past L1, through the read-only path.
VIGIL_DEVICE uint4 load_weights16(const void* p) {
#if __CUDA_ARCH__ >= 700
    uint4 v;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
        : "l"(p));
    return v;
#else
    return __ldg(static_cast<const uint4*>(p));
#endif
}

// Eight weights of a format that is known only now. The branch is the same for all lanes; a copy of the loops around it
// per format would be quicker only if the instruction cache held them, and it does not: all phases of a layer pass
// through it once per layer.
VIGIL_DEVICE void unpack_weights(TensorFormat format, const uint4& raw, float (&out)[8]) {
    if (format == TensorFormat::kF16)
        F16Format::unpack(raw, out);
    else
        BF16Format::unpack(raw, out);
}

// A round of a row's weights: what a lane has on its way at once.
struct WeightRound {
    uint4 raw[CudaTeam::kLoadsInFlight];
};
constexpr int kRoundChunks = CudaTeam::kLoadsInFlight * CudaTeam::kWarpSize;

// Issues the loads of chunks first … of a row. What lies past the end is not loaded.
VIGIL_DEVICE void load_round(const CudaTeam& team, const char* row, int cols, int first, WeightRound& round) {
    VIGIL_UNROLL
    for (int u = 0; u < CudaTeam::kLoadsInFlight; ++u) {
        const int chunk = first + u * CudaTeam::kWarpSize + team.lane();
        if (chunk < cols / 8) round.raw[u] = load_weights16(row + 16 * static_cast<std::size_t>(chunk));
    }
}

VIGIL_DEVICE void start_row(const CudaTeam& team, const char* row, int cols, WeightRound& round) {
    load_round(team, row, cols, 0, round);
}

// row · x after start_row: `cols` weights of `format`, x FP32 in shared or global memory, 16-byte aligned. The warp
// works together; every lane gets the result. The next round is on its way while this one is multiplied.
VIGIL_DEVICE float finish_row(const CudaTeam& team, WeightRound& round, TensorFormat format, const char* row, int cols,
                              const float* x) {
    float sum = 0.0f;
#pragma unroll 1
    for (int first = 0; first < cols / 8; first += kRoundChunks) {
        WeightRound next;
        load_round(team, row, cols, first + kRoundChunks, next);
        VIGIL_UNROLL
        for (int u = 0; u < CudaTeam::kLoadsInFlight; ++u) {
            const int chunk = first + u * CudaTeam::kWarpSize + team.lane();
            if (chunk >= cols / 8) break;
            const float4 lo = *reinterpret_cast<const float4*>(x + 8 * chunk);
            const float4 hi = *reinterpret_cast<const float4*>(x + 8 * chunk + 4);
            const float xs[8] = {lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w};
            float w[8];
            unpack_weights(format, round.raw[u], w);
            VIGIL_UNROLL
            for (int i = 0; i < 8; ++i) sum = fmaf(w[i], xs[i], sum);
        }
        round = next;
    }
    return team.lane_sum(sum);
}

// Weights [8 * chunk, 8 * chunk + 8) of a row.
VIGIL_DEVICE void load_weights8(const CudaTeam&, TensorFormat format, const char* row, int chunk, float (&out)[8]) {
    const uint4 raw = load_weights16(row + 16 * static_cast<std::size_t>(chunk));
    unpack_weights(format, raw, out);
}

// Eight FP16 values of the KV cache, 16-byte aligned; past L1, since other blocks write the cache.
VIGIL_DEVICE uint4 fetch_half8(const CudaTeam&, const std::uint16_t* p) {
    return __ldcg(reinterpret_cast<const uint4*>(p));
}
// The same from shared memory.
VIGIL_DEVICE uint4 fetch_shared_half8(const CudaTeam&, const std::uint16_t* p) {
    return *reinterpret_cast<const uint4*>(p);
}
VIGIL_DEVICE void unpack_half8(const CudaTeam&, const uint4& raw, float (&out)[8]) {
    F16Format::unpack(raw, out);
}

// Eight floats from shared memory, 16-byte aligned.
VIGIL_DEVICE void load_shared8(const CudaTeam&, const float* p, float (&out)[8]) {
    const float4 lo = *reinterpret_cast<const float4*>(p);
    const float4 hi = *reinterpret_cast<const float4*>(p + 4);
    out[0] = lo.x, out[1] = lo.y, out[2] = lo.z, out[3] = lo.w;
    out[4] = hi.x, out[5] = hi.y, out[6] = hi.z, out[7] = hi.w;
}

VIGIL_DEVICE std::uint16_t to_half(const CudaTeam&, float v) {
    return __half_as_ushort(__float2half_rn(v));
}

VIGIL_DEVICE void turn_sincos(const CudaTeam&, float turns, float* sine, float* cosine) {
    sincospif(2.0f * turns, sine, cosine);
}

// e^x for attention's weights, in fewer instructions than expf and right to a few units in the last place for x ≤ 0.
VIGIL_DEVICE float exponential(const CudaTeam&, float x) {
    return exp2f(x * 1.44269504f);
}

// Right to two units in the last place.
VIGIL_DEVICE float inverse_sqrt(const CudaTeam&, float x) {
    return rsqrtf(x);
}

VIGIL_DEVICE float fused(const CudaTeam&, float a, float b, float c) {
    return fmaf(a, b, c);
}

}  // namespace vigil::device
