// Small matrix products in block memory on a GPU: the two that attention is made of. The CPU's twin is tile_cpu.h.
#pragma once

#include "device/prefill/common.cuh"

namespace vigil::device {

// c[rows, cols] (+)= a[rows, depth] · b[depth, cols], all in shared memory, row strides lda, ldb, ldc.
// cols, ldb and ldc are multiples of 4, rows is even. All threads of the block; no sync before or after.
VIGIL_DEVICE void multiply_tile(const CudaTeam& team, const float* a, int lda, const float* b, int ldb, float* c,
                                int ldc, int rows, int cols, int depth, bool add) {
    const int across = cols / 4;
    for (int item = team.thread(); item < rows / 2 * across; item += team.n_threads()) {
        const int row = 2 * (item / across);
        const int col = 4 * (item % across);
        float sum[2][4] = {};
        for (int k = 0; k < depth; ++k) {
            const float4 right = *reinterpret_cast<const float4*>(b + k * ldb + col);
            const float rights[4] = {right.x, right.y, right.z, right.w};
            VIGIL_UNROLL
            for (int r = 0; r < 2; ++r) {
                const float left = a[(row + r) * lda + k];
                VIGIL_UNROLL
                for (int i = 0; i < 4; ++i) sum[r][i] = fmaf(left, rights[i], sum[r][i]);
            }
        }
        VIGIL_UNROLL
        for (int r = 0; r < 2; ++r) {
            auto* out = reinterpret_cast<float4*>(c + (row + r) * ldc + col);
            const float4 old = add ? *out : float4{0.0f, 0.0f, 0.0f, 0.0f};
            *out = float4{old.x + sum[r][0], old.y + sum[r][1], old.z + sum[r][2], old.w + sum[r][3]};
        }
    }
}

}  // namespace vigil::device
