// GEMM of a chunk: out[t, r] (+)= sum over c of x[t, c] * w[r, c], FP32 sums in a fixed order.
//   reads   x [n_tokens, cols] FP32, w [rows, cols] in its own format
//   writes  out [n_tokens] rows of w.rows values, out_stride apart; adds to what is there if `add`
//   split   tiles of tokens by weight rows over blocks; within a tile every weight is unpacked once
// A tile is the machine's own: gemm_cuda.cuh and gemm_cpu.h overload GemmTile and multiply_weights.
#pragma once

#include "device/prefill/common.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void gemm_chunk(M& m, const GemmArgs& g) {
    using Tile = GemmTile<typename M::Team>;
    const int token_tiles = (g.n_tokens + Tile::kTokens - 1) / Tile::kTokens;
    const int row_tiles = (g.w.rows + Tile::kRows - 1) / Tile::kRows;
    for (int item = m.team.block(); item < row_tiles * token_tiles; item += m.team.n_blocks())
        multiply_weights(m.team, m.area(), g, item % token_tiles * Tile::kTokens, item / token_tiles * Tile::kRows);
}

}  // namespace vigil::device
