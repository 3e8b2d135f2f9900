// The GEMM's tile on the CPU: weights are unpacked into a panel that stays in L1, transposed so that a vector holds
// eight weight rows; the tokens then stream past it.
#pragma once

#include "device/prefill/common.cuh"
#include "device/prefill/tile_cpu.h"

namespace vigil::device {

template <class Isa>
struct GemmTile<CpuTeam<Isa>> {
    static constexpr int kTokens = 256;  // enough that unpacking costs little beside multiplying
    static constexpr int kRows = 8 * kTileVectors;
    static constexpr int kDepth = 256;
    static constexpr int kEdgeTokens = 24;
    // The panel, and room for the results of a tile with fewer weight rows.
    static constexpr int kAreaFloats = kRows * kDepth + kRows * kEdgeTokens;
};

// panel[c][r] = w[row + r, begin + c] for n columns; rows past the matrix are zero.
template <class Isa>
VIGIL_DEVICE void unpack_panel(const CpuTeam<Isa>& team, const Tensor& w, int row, int begin, int n, float* panel) {
    constexpr int kRows = GemmTile<CpuTeam<Isa>>::kRows;
    for (int group = 0; group < kRows; group += 8) {
        const char* weights[8];
        for (int r = 0; r < 8; ++r) weights[r] = row + group + r < w.rows ? row_pointer(w, row + group + r) : nullptr;
        for (int chunk = 0; chunk < n / 8; ++chunk) {
            float block[8][8] = {};
            for (int r = 0; r < 8; ++r)
                if (weights[r] != nullptr) load_weights8(team, w.format, weights[r], begin / 8 + chunk, block[r]);
            store_transposed(team, block, panel + 8 * chunk * kRows + group, kRows);
        }
    }
}

// out for tokens [token, token + kTokens) and weight rows [row, row + kRows), as far as they exist.
template <class Isa>
VIGIL_DEVICE void multiply_weights(const CpuTeam<Isa>& team, float* area, const GemmArgs& g, int token, int row) {
    using Tile = GemmTile<CpuTeam<Isa>>;
    float* panel = area;
    float* edge = area + Tile::kRows * Tile::kDepth;
    const int cols = g.w.cols;
    const int n_tokens = g.n_tokens - token < Tile::kTokens ? g.n_tokens - token : Tile::kTokens;
    const int n_rows = g.w.rows - row < Tile::kRows ? g.w.rows - row : Tile::kRows;
    const float* x = static_cast<const float*>(g.x) + static_cast<std::ptrdiff_t>(token) * cols;
    float* out = g.out + static_cast<std::ptrdiff_t>(token) * g.out_stride + row;
    for (int begin = 0; begin < cols; begin += Tile::kDepth) {
        const int depth = cols - begin < Tile::kDepth ? cols - begin : Tile::kDepth;
        const bool add = g.add || begin > 0;
        unpack_panel(team, g.w, row, begin, depth, panel);
        if (n_rows == Tile::kRows) {
            multiply_tile(team, x + begin, cols, panel, Tile::kRows, out, g.out_stride, n_tokens, Tile::kRows, depth,
                          add);
            continue;
        }
        for (int t = 0; t < n_tokens; t += Tile::kEdgeTokens) {
            const int n = n_tokens - t < Tile::kEdgeTokens ? n_tokens - t : Tile::kEdgeTokens;
            multiply_tile(team, x + static_cast<std::ptrdiff_t>(t) * cols + begin, cols, panel, Tile::kRows, edge,
                          Tile::kRows, n, Tile::kRows, depth, false);
            for (int i = 0; i < n; ++i)
                for (int r = 0; r < n_rows; ++r) {
                    float& sum = out[static_cast<std::ptrdiff_t>(t + i) * g.out_stride + r];
                    sum = (add ? sum : 0.0f) + edge[i * Tile::kRows + r];
                }
        }
    }
}

}  // namespace vigil::device
