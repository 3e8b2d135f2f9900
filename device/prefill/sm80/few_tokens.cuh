// GEMM of at most kFewTokens tokens on tensor cores, straight from tiles: out[t, r] (+)= sum over c of x[t, c] * w[r,
// c], FP16 factors and FP32 sums.
//   reads   x [n_tokens, cols] FP16, w [rows, cols] FP16 in tiles
//   writes  out [n_tokens] rows of w.rows values, out_stride apart; adds to what is there if `add`
//   split   16 weight rows to a block, runs of 32 columns to its warps, whose sums are added in the warps' order
// The weights' bytes are what takes time here, so they are read once, each by the lane whose fragment it belongs to: of
// a run, lane 4g + t has the eight columns at 8t of rows g and g + 8 (as sm90/tiles.h has it), and of x the same
// columns of tokens g, g + 8, …. That is another order of columns than multiply_16x8x16 names, the same for both
// factors.
#pragma once

#include "device/prefill/common.cuh"
#include "device/prefill/sm80/mma.cuh"
#include "device/sm90/tiles.h"

namespace vigil::device::sm80 {

// Many warps for matrices of few rows, so that the GPU has enough loads on their way all the same.
template <int Warps>
struct FewTokensBlock {
    static constexpr int kRows = tiles::kRows;  // a tile
    static constexpr int kWarps = Warps;
    static constexpr int kThreads = 32 * kWarps;
    static constexpr int kRunCols = 32;
    static constexpr int kRunsAhead = 4;  // loaded before the first of them is multiplied
};
using FewRowsBlock = FewTokensBlock<16>;
using ManyRowsBlock = FewTokensBlock<8>;

// A lane's sixteen weights of a run, as the first factor of two multiplications.
struct WeightFragments {
    std::uint32_t first[4];
    std::uint32_t second[4];
};

// Where a lane finds its weights of a tile: two loads are the two fragments.
struct TileSource {
    const uint4* lane_words;

    VIGIL_DEVICE TileSource(const Tensor& w, int row, int lane)
        : lane_words(reinterpret_cast<const uint4*>(static_cast<const char*>(w.data) +
                                                    static_cast<std::size_t>(row / tiles::kRows) *
                                                        tiles::tile_bytes(w.tiles)) +
                     lane) {}

    VIGIL_DEVICE WeightFragments load(int run) const {
        const uint4 a = __ldcs(lane_words + 64 * run);
        const uint4 b = __ldcs(lane_words + 64 * run + 32);
        return {{a.x, a.y, a.z, a.w}, {b.x, b.y, b.z, b.w}};
    }
};

// TokenTiles: of eight tokens.
template <class Block, int TokenTiles>
VIGIL_DEVICE void multiply_few(const GemmArgs& g) {
    constexpr int kTokens = 8 * TokenTiles;
    // Of a token's sums; what is behind them spreads the lanes that store together over all banks.
    constexpr int kSumStride = Block::kRows + 4;
    __shared__ float sums[Block::kWarps][kTokens][kSumStride];

    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int row = static_cast<int>(blockIdx.x) * Block::kRows;
    const int n_runs = (g.w.cols + Block::kRunCols - 1) / Block::kRunCols;
    const TileSource weights(g.w, row, lane);
    const auto* x = static_cast<const std::uint16_t*>(g.x) + row_offset(lane / 4, g.w.cols) + 8 * (lane % 4);

    float sum[TokenTiles][4] = {};
    for (int first = warp; first < n_runs; first += Block::kWarps * Block::kRunsAhead) {
        WeightFragments w[Block::kRunsAhead];
        VIGIL_UNROLL
        for (int i = 0; i < Block::kRunsAhead; ++i)
            if (first + i * Block::kWarps < n_runs) w[i] = weights.load(first + i * Block::kWarps);
        VIGIL_UNROLL
        for (int i = 0; i < Block::kRunsAhead; ++i) {
            const int run = first + i * Block::kWarps;
            if (run >= n_runs) break;
            const bool inside = run * Block::kRunCols + 8 * (lane % 4) < g.w.cols;
            VIGIL_UNROLL
            for (int tile = 0; tile < TokenTiles; ++tile) {
                uint4 in = make_uint4(0, 0, 0, 0);
                if (inside && 8 * tile + lane / 4 < g.n_tokens)
                    in = __ldg(
                        reinterpret_cast<const uint4*>(x + row_offset(8 * tile, g.w.cols) + run * Block::kRunCols));
                multiply_16x8x16(sum[tile], w[i].first, in.x, in.y);
                multiply_16x8x16(sum[tile], w[i].second, in.z, in.w);
            }
        }
    }

    VIGIL_UNROLL
    for (int tile = 0; tile < TokenTiles; ++tile) VIGIL_UNROLL
    for (int i = 0; i < 4; ++i) sums[warp][8 * tile + 2 * (lane % 4) + i % 2][lane / 4 + 8 * (i / 2)] = sum[tile][i];
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kTokens * Block::kRows; i += Block::kThreads) {
        const int t = i / Block::kRows;
        const int r = i % Block::kRows;
        if (t >= g.n_tokens || row + r >= g.w.rows) continue;
        float total = 0.0f;
        VIGIL_UNROLL
        for (int k = 0; k < Block::kWarps; ++k) total += sums[k][t][r];
        float* out = g.out + row_offset(t, g.out_stride) + row + r;
        *out = g.add ? *out + total : total;
    }
}

}  // namespace vigil::device::sm80
