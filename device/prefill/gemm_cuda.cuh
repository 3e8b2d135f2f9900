// The GEMM's tile on a GPU, portable form (sm_52 up): FP32 multiply-adds on tiles in shared memory, the next step's
// loads in flight while this one is multiplied.
#pragma once

#include "device/prefill/common.cuh"
#include "device/seams/leaves_cuda.cuh"

namespace vigil::device {

template <>
struct GemmTile<CudaTeam> {
    static constexpr int kTokens = 64;
    static constexpr int kRows = 64;
    static constexpr int kDepth = 32;
    static constexpr int kThreads = 256;  // each with 4 tokens by 4 rows
    // Four floats of padding keep 16-byte alignment and spread the columns over the banks.
    static constexpr int kStride = 64 + 4;
    static constexpr int kAreaFloats = 2 * kDepth * kStride;
};

// A thread's share of the next step: 8 weights of one row, 8 inputs of one token.
struct GemmFragment {
    float w[8];
    float x[8];
};

VIGIL_DEVICE void load_fragment(const CudaTeam& team, const GemmArgs& g, int token, int row, int col, GemmFragment& f) {
    VIGIL_UNROLL
    for (int i = 0; i < 8; ++i) f.w[i] = f.x[i] = 0.0f;
    if (col >= g.w.cols) return;
    if (row < g.w.rows) load_weights8(team, g.w, row, col / 8, f.w);
    if (token < g.n_tokens) {
        const float* x = static_cast<const float*>(g.x) + row_offset(token, g.w.cols) + col;
        const float4 lo = *reinterpret_cast<const float4*>(x);
        const float4 hi = *reinterpret_cast<const float4*>(x + 4);
        f.x[0] = lo.x, f.x[1] = lo.y, f.x[2] = lo.z, f.x[3] = lo.w;
        f.x[4] = hi.x, f.x[5] = hi.y, f.x[6] = hi.z, f.x[7] = hi.w;
    }
}

// out for tokens [token, token + kTokens) and weight rows [row, row + kRows), as far as they exist. All threads of the
// block, kThreads of them.
VIGIL_DEVICE void multiply_weights(const CudaTeam& team, float* area, const GemmArgs& g, int token, int row) {
    using Tile = GemmTile<CudaTeam>;
    float* ws = area;  // [kDepth][kStride], transposed: neighbouring rows are neighbours
    float* xs = area + Tile::kDepth * Tile::kStride;
    // Neighbouring threads take neighbouring rows, so that the transposed stores meet no bank twice.
    const int mine = team.thread() % 64;
    const int chunk = 8 * (team.thread() / 64);
    const int across = 4 * (team.thread() % 16);
    const int down = 4 * (team.thread() / 16);

    float sum[4][4] = {};
    GemmFragment next;
    load_fragment(team, g, token + mine, row + mine, chunk, next);
    for (int begin = 0; begin < g.w.cols; begin += Tile::kDepth) {
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            ws[(chunk + i) * Tile::kStride + mine] = next.w[i];
            xs[(chunk + i) * Tile::kStride + mine] = next.x[i];
        }
        team.sync();
        load_fragment(team, g, token + mine, row + mine, begin + Tile::kDepth + chunk, next);
        VIGIL_UNROLL
        for (int k = 0; k < Tile::kDepth; ++k) {
            const float4 w = *reinterpret_cast<const float4*>(ws + k * Tile::kStride + across);
            const float4 x = *reinterpret_cast<const float4*>(xs + k * Tile::kStride + down);
            const float weights[4] = {w.x, w.y, w.z, w.w};
            const float inputs[4] = {x.x, x.y, x.z, x.w};
            VIGIL_UNROLL
            for (int t = 0; t < 4; ++t) VIGIL_UNROLL
            for (int r = 0; r < 4; ++r) sum[t][r] = fmaf(inputs[t], weights[r], sum[t][r]);
        }
        team.sync();
    }
    VIGIL_UNROLL
    for (int t = 0; t < 4; ++t) {
        if (token + down + t >= g.n_tokens) break;
        float* out = g.out + row_offset(token + down + t, g.out_stride) + row + across;
        VIGIL_UNROLL
        for (int r = 0; r < 4; ++r)
            if (row + across + r < g.w.rows) out[r] = g.add ? out[r] + sum[t][r] : sum[t][r];
    }
}

}  // namespace vigil::device
