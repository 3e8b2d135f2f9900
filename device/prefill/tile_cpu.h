// Small matrix products on the CPU, in registers and vectors of eight. The GPU's twin is tile_cuda.cuh; the CPU's GEMM
// is made of the same kernel.
#pragma once

#include "device/cpu/leaves.h"

namespace vigil::device {

// to[i * stride + j] = block[j][i]
template <class Isa>
VIGIL_DEVICE void store_transposed(const CpuTeam<Isa>&, const float (&block)[8][8], float* to, int stride) {
    for (int i = 0; i < 8; ++i)
        for (int j = 0; j < 8; ++j) to[i * stride + j] = block[j][i];
}

#if defined(__AVX2__)
// By halves: pairs, then fours, then the two lanes of the registers. Element by element it would take longer than all
// that a short prompt multiplies.
VIGIL_DEVICE void store_transposed(const CpuTeam<Avx2>&, const float (&block)[8][8], float* to, int stride) {
    __m256 pairs[8];
    for (int i = 0; i < 4; ++i) {
        const __m256 a = _mm256_loadu_ps(block[2 * i]);
        const __m256 b = _mm256_loadu_ps(block[2 * i + 1]);
        pairs[2 * i] = _mm256_unpacklo_ps(a, b);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(a, b);
    }
    __m256 fours[8];
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j) {
            const __m256 a = pairs[4 * i + j];
            const __m256 b = pairs[4 * i + j + 2];
            fours[4 * i + 2 * j] = _mm256_shuffle_ps(a, b, 0x44);
            fours[4 * i + 2 * j + 1] = _mm256_shuffle_ps(a, b, 0xee);
        }
    for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(to + i * stride, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * stride, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31));
    }
}
#endif

constexpr int kTileVectors = 2;

// The arithmetic of an instruction set as it suits a tile of sums in registers, and how many rows such a tile has: with
// AVX2 six rows by two vectors keep twelve sums, two of b and one of a in sixteen registers.
template <class Isa>
struct TileArithmetic : Isa {
    static constexpr int kRows = 6;
};

// The baseline's own vectors are arrays, which the compiler keeps in memory; pairs of four it keeps in registers.
template <>
struct TileArithmetic<Baseline> {
    static constexpr int kRows = 2;
    typedef float Four __attribute__((vector_size(16)));
    struct Vector {
        Four low, high;
    };
    static VIGIL_DEVICE Vector zero() { return {Four{}, Four{}}; }
    static VIGIL_DEVICE Vector load(const float* p) {
        Vector v;
        std::memcpy(&v.low, p, sizeof v.low);
        std::memcpy(&v.high, p + 4, sizeof v.high);
        return v;
    }
    static VIGIL_DEVICE Vector broadcast(float v) {
        const Four all = {v, v, v, v};
        return {all, all};
    }
    static VIGIL_DEVICE Vector fused(const Vector& a, const Vector& b, const Vector& c) {
        return {a.low * b.low + c.low, a.high * b.high + c.high};
    }
    static VIGIL_DEVICE void store(float* p, const Vector& v) {
        std::memcpy(p, &v.low, sizeof v.low);
        std::memcpy(p + 4, &v.high, sizeof v.high);
    }
};

// c[Rows, 8 * Vectors] (+)= a[Rows, depth] · b[depth, 8 * Vectors]
template <class Isa, int Rows, int Vectors>
VIGIL_DEVICE void multiply_in_registers(const float* a, int lda, const float* b, int ldb, float* c, int ldc, int depth,
                                        bool add) {
    using Arithmetic = TileArithmetic<Isa>;
    using Vector = typename Arithmetic::Vector;
    Vector sum[Rows][Vectors];
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v)
            sum[r][v] = add ? Arithmetic::load(c + static_cast<std::ptrdiff_t>(r) * ldc + 8 * v) : Arithmetic::zero();
    for (int k = 0; k < depth; ++k) {
        Vector right[Vectors];
        for (int v = 0; v < Vectors; ++v) right[v] = Arithmetic::load(b + static_cast<std::ptrdiff_t>(k) * ldb + 8 * v);
        for (int r = 0; r < Rows; ++r) {
            const Vector left = Arithmetic::broadcast(a[static_cast<std::ptrdiff_t>(r) * lda + k]);
            for (int v = 0; v < Vectors; ++v) sum[r][v] = Arithmetic::fused(left, right[v], sum[r][v]);
        }
    }
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v)
            Arithmetic::store(c + static_cast<std::ptrdiff_t>(r) * ldc + 8 * v, sum[r][v]);
}

template <class Isa, int Vectors>
VIGIL_DEVICE void multiply_columns(const float* a, int lda, const float* b, int ldb, float* c, int ldc, int rows,
                                   int depth, bool add) {
    constexpr int kRows = TileArithmetic<Isa>::kRows;
    int r = 0;
    for (; r + kRows <= rows; r += kRows)
        multiply_in_registers<Isa, kRows, Vectors>(a + static_cast<std::ptrdiff_t>(r) * lda, lda, b, ldb,
                                                   c + static_cast<std::ptrdiff_t>(r) * ldc, ldc, depth, add);
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
