// Small matrix products on the CPU, in registers and vectors of eight. The GPU's twin is tile_cuda.cuh; the CPU's GEMM
// is made of the same kernel.
#pragma once

#include "device/cpu/leaves.h"

namespace vigil::device {

// Six rows by two vectors keep twelve sums, two of b and one of a in AVX2's sixteen registers.
constexpr int kTileRowsInRegisters = 6;
constexpr int kTileVectors = 2;

// c[Rows, 8 * Vectors] (+)= a[Rows, depth] · b[depth, 8 * Vectors]
template <class Isa, int Rows, int Vectors>
VIGIL_DEVICE void multiply_in_registers(const float* a, int lda, const float* b, int ldb, float* c, int ldc, int depth,
                                        bool add) {
    typename Isa::Vector sum[Rows][Vectors];
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v)
            sum[r][v] = add ? Isa::load(c + static_cast<std::ptrdiff_t>(r) * ldc + 8 * v) : Isa::zero();
    for (int k = 0; k < depth; ++k) {
        typename Isa::Vector right[Vectors];
        for (int v = 0; v < Vectors; ++v) right[v] = Isa::load(b + static_cast<std::ptrdiff_t>(k) * ldb + 8 * v);
        for (int r = 0; r < Rows; ++r) {
            const typename Isa::Vector left = Isa::broadcast(a[static_cast<std::ptrdiff_t>(r) * lda + k]);
            for (int v = 0; v < Vectors; ++v) sum[r][v] = Isa::fused(left, right[v], sum[r][v]);
        }
    }
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v) Isa::store(c + static_cast<std::ptrdiff_t>(r) * ldc + 8 * v, sum[r][v]);
}

template <class Isa, int Vectors>
VIGIL_DEVICE void multiply_columns(const float* a, int lda, const float* b, int ldb, float* c, int ldc, int rows,
                                   int depth, bool add) {
    int r = 0;
    for (; r + kTileRowsInRegisters <= rows; r += kTileRowsInRegisters)
        multiply_in_registers<Isa, kTileRowsInRegisters, Vectors>(a + static_cast<std::ptrdiff_t>(r) * lda, lda, b, ldb,
                                                                  c + static_cast<std::ptrdiff_t>(r) * ldc, ldc, depth,
                                                                  add);
    for (; r + 2 <= rows; r += 2)
        multiply_in_registers<Isa, 2, Vectors>(a + static_cast<std::ptrdiff_t>(r) * lda, lda, b, ldb,
                                               c + static_cast<std::ptrdiff_t>(r) * ldc, ldc, depth, add);
    for (; r < rows; ++r)
        multiply_in_registers<Isa, 1, Vectors>(a + static_cast<std::ptrdiff_t>(r) * lda, lda, b, ldb,
                                               c + static_cast<std::ptrdiff_t>(r) * ldc, ldc, depth, add);
}

// c[rows, cols] (+)= a[rows, depth] · b[depth, cols], row strides lda, ldb, ldc; cols a multiple of 8.
template <class Isa>
VIGIL_DEVICE void multiply_tile(const CpuTeam<Isa>&, const float* a, int lda, const float* b, int ldb, float* c,
                                int ldc, int rows, int cols, int depth, bool add) {
    int col = 0;
    for (; col + 8 * kTileVectors <= cols; col += 8 * kTileVectors)
        multiply_columns<Isa, kTileVectors>(a, lda, b + col, ldb, c + col, ldc, rows, depth, add);
    if (col < cols) multiply_columns<Isa, 1>(a, lda, b + col, ldb, c + col, ldc, rows, depth, add);
}

}  // namespace vigil::device
