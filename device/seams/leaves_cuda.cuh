// The arithmetic leaves on a GPU, portable form (sm_52 up): FP32 arithmetic on 16-byte loads.
//
// Phases call these through overload on the Team; the CPU's twins are in device/cpu/leaves.h. Every multiply-add that
// may fuse is written as one, and the build forbids the compiler to fuse others, so that a phase gives the same bits
// in whatever kernel it is inlined.
#pragma once

#include <cuda_fp16.h>

#include "device/model.h"
#include "device/seams/formats_cuda.cuh"
#include "device/seams/team_cuda.cuh"
#include "device/sm90/look_up.cuh"

namespace vigil::device {

// Four neighbouring floats of a product's input of n floats go where input_place says; i is a multiple of 4.
// `blocks`: the formats of blocks want the sum of each run besides. Their n is a multiple of kInputRun, so the eight
// lanes that have a run's quads are all here.
VIGIL_DEVICE void put_input4(const CudaTeam&, float* x, int n, int i, const float (&v)[4], bool blocks) {
    float* to = x + input_place(i / kInputRun, i % kInputRun / 4);
    *reinterpret_cast<float4*>(to) = float4{v[0], v[1], v[2], v[3]};
    if (!blocks || n % kInputRun != 0) return;
    float sum = (v[0] + v[1]) + (v[2] + v[3]);
    const unsigned lanes = 0xffu << (i / 4 & 24);  // neighbouring lanes have neighbouring quads
    VIGIL_UNROLL
    for (int offset = 4; offset > 0; offset /= 2) sum += __shfl_xor_sync(lanes, sum, offset);
    if (i % kInputRun == 0) x[n + i / kInputRun] = sum;
}

// A round of a row's weights: what a lane has on its way at once.
struct WeightRound {
    std::uint32_t words[kRoundWords];
};

// What becomes of the units of a round that lie past the end of a row.
enum class PastEnd { kSkipped, kLastAgain };

// Issues the loads of the lane's units of the round that begins with unit `first`.
template <class Format, PastEnd kPastEnd>
VIGIL_DEVICE void load_round(int lane, const char* row, int cols, int first, WeightRound& round) {
    static_assert(Format::kWords * Format::kUnitsPerRound <= kRoundWords, "a round has room for the format's words");
    const int n_units = Format::n_units(cols);
    VIGIL_UNROLL
    for (int u = 0; u < Format::kUnitsPerRound; ++u) {
        const int unit = first + u * CudaTeam::kWarpSize + lane;
        std::uint32_t* words = round.words + u * Format::kWords;
        if constexpr (kPastEnd == PastEnd::kSkipped) {
            if (unit < n_units) Format::load(row, unit, words);
        } else {
            Format::load(row, unit < n_units ? unit : n_units - 1, words);
        }
    }
}

// sum + the products of a round.
template <class Format, class X>
VIGIL_DEVICE float multiply_round(int lane, const WeightRound& round, const char* row, int cols, int first, const X& x,
                                  float sum) {
    VIGIL_UNROLL
    for (int u = 0; u < Format::kUnitsPerRound; ++u) {
        const int unit = first + u * CudaTeam::kWarpSize + lane;
        if (unit >= Format::n_units(cols)) break;
        sum = Format::multiply(round.words + u * Format::kWords, row, unit, x, sum);
    }
    return sum;
}

// Rows of plain formats one at a time. One loop with a branch per unit: a copy of it per format would be quicker only
// if the instruction cache held them, and it does not: all phases of a layer pass through it once per layer.
VIGIL_DEVICE void start_row(const CudaTeam& team, TensorFormat format, const char* row, int cols, WeightRound& round) {
    if (format == TensorFormat::kF32)
        load_round<PlainFormat<TensorFormat::kF32>, PastEnd::kSkipped>(team.lane(), row, cols, 0, round);
    else
        load_round<PlainFormat<TensorFormat::kF16>, PastEnd::kSkipped>(team.lane(), row, cols, 0, round);
}

// row · x after start_row: `cols` weights of a plain format, x as put_input4 has laid it out in shared or global
// memory. The warp works together; every lane gets the result. The next round is on its way while this one is
// multiplied.
VIGIL_DEVICE float finish_row(const CudaTeam& team, WeightRound& round, TensorFormat format, const char* row, int cols,
                              const float* x) {
    const int lane = team.lane();
    const AnyInput input(x, cols);
    const float sum = with_plain_format(format, [&](auto f) {
        using Format = decltype(f);
        constexpr int kUnits = Format::kUnitsPerRound * CudaTeam::kWarpSize;
        float total = 0.0f;
        VIGIL_UNROLL_BY(1)
        for (int first = 0; first < Format::n_units(cols); first += kUnits) {
            WeightRound next;
            load_round<Format, PastEnd::kSkipped>(lane, row, cols, first + kUnits, next);
            total = multiply_round<Format>(lane, round, row, cols, first, input, total);
            round = next;
        }
        return total;
    });
    return team.lane_sum(sum);
}

// Rows of any format, some at a time: those at row, row + stride, …, n of them and at most as many as the warp has
// lanes. Lane i gets the i-th row's product with x, which is in shared memory. The next round, of the row or of the one
// behind it, is on its way while this one is multiplied.
//
// A function that is called, since a copy of every format's loop for each phase would be too much for compilers and
// caches. Words past the end are loaded, uselessly, because words that are loaded only sometimes would be kept alive
// from one row to the next, for every format at once.
VIGIL_DEVICE_CALLED float multiply_rows(TensorFormat format, const char* row, std::size_t stride, int n, int cols,
                                        const float* x) {
    const CudaTeam team{nullptr};
    const SharedInput input(x, cols);
    return with_format(format, [&](auto f) {
        using Format = decltype(f);
        constexpr int kUnits = Format::kUnitsPerRound * CudaTeam::kWarpSize;
        const int lane = team.lane();
        WeightRound round;
        load_round<Format, PastEnd::kLastAgain>(lane, row, cols, 0, round);
        float mine = 0.0f;
        float sum = 0.0f;
        int first = 0;
        VIGIL_UNROLL_BY(1)
        for (int i = 0; i < n;) {
            const bool ends = first + kUnits >= Format::n_units(cols);
            const char* next_row = ends && i + 1 < n ? row + stride : row;
            WeightRound next;
            load_round<Format, PastEnd::kLastAgain>(lane, next_row, cols, ends ? 0 : first + kUnits, next);
            sum = multiply_round<Format>(lane, round, row, cols, first, input, sum);
            round = next;
            row = next_row;
            first += kUnits;
            if (!ends) continue;
            sum = team.lane_sum(sum);
            if (lane == i) mine = sum;
            sum = 0.0f;
            first = 0;
            ++i;
        }
        return mine;
    });
}
VIGIL_DEVICE float multiply_rows(const CudaTeam&, TensorFormat format, const char* row, std::size_t stride, int n,
                                 int cols, const float* x) {
    return multiply_rows(format, row, stride, n, cols, x);
}

// Asks for the beginning of a row to come into L2.
VIGIL_DEVICE void prefetch_row(const CudaTeam& team, const char* row, std::size_t bytes) {
    const std::size_t at = 64 * static_cast<std::size_t>(team.lane());
    if (at < bytes) asm volatile("prefetch.global.L2 [%0];" ::"l"(row + at));
}

// As load_weights8, of a plain format.
VIGIL_DEVICE void load_plain_weights8(TensorFormat format, const char* data, std::size_t chunk, float (&out)[8]) {
    std::uint32_t words[8];
    if (format == TensorFormat::kF32) {
        load_quads<2>(data + 32 * chunk, words);
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) out[i] = __uint_as_float(words[i]);
        return;
    }
    PlainFormat<TensorFormat::kF16>::load(data + 16 * chunk, 0, words);
    if (format == TensorFormat::kF16)
        unpack_f16(words, out);
    else
        unpack_bf16(words, out);
}

// Weights [8 * chunk, 8 * chunk + 8) of what begins with a whole block at `data`, 16-byte aligned if it is none of the
// formats of blocks: a row, or a matrix.
VIGIL_DEVICE void load_weights8(const CudaTeam&, TensorFormat format, const char* data, std::size_t chunk,
                                float (&out)[8]) {
    if (!has_blocks(format)) return load_plain_weights8(format, data, chunk, out);
    const auto eighths = static_cast<std::size_t>(block_weights(format) / 8);
    const char* block = data + chunk / eighths * static_cast<std::size_t>(block_bytes(format));
    const int eighth = static_cast<int>(chunk % eighths);
    with_block_format(format, [&](auto f) { decltype(f)::unpack8(block, eighth, out); });
}

// The same of a matrix, in rows or in tiles: of a row, or counted through all rows.
VIGIL_DEVICE void load_weights8(const CudaTeam& team, const Tensor& w, int row, int chunk, float (&out)[8]) {
    if (w.tiles.chunk_cols != 0) return tiles::load_weights8(w, row, chunk, out);
    const auto offset = static_cast<std::size_t>(row) * static_cast<std::size_t>(row_bytes(w.format, w.cols));
    load_weights8(team, w.format, static_cast<const char*>(w.data) + offset, static_cast<std::size_t>(chunk), out);
}
VIGIL_DEVICE void load_eight(const CudaTeam& team, const Tensor& w, std::size_t i, float (&out)[8]) {
    if (w.tiles.chunk_cols == 0) return load_weights8(team, w.format, static_cast<const char*>(w.data), i, out);
    const auto index = static_cast<std::uint32_t>(i);  // a matrix of 2^35 weights does not occur
    const std::uint32_t per_row = static_cast<std::uint32_t>(w.cols) / 8;
    tiles::load_weights8(w, static_cast<int>(index / per_row), static_cast<int>(index % per_row), out);
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
    const std::uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
    unpack_f16(words, out);
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
