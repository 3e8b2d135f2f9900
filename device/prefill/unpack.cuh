// A matrix as FP16: halves[r, c] = w[r, c], for a GEMM that takes no other format.
//   reads   w [rows, cols] in its own format
//   writes  halves [rows, cols]
//   split   eight weights to a thread, neighbours to neighbours, so that whole lines are written
#pragma once

#include "device/prefill/common.cuh"

namespace vigil::device {

// Written at once.
struct alignas(16) EightHalves {
    std::uint16_t v[8];
};

// Eights of weights in a matrix: its rows follow each other without gaps, so they count through.
VIGIL_HD std::size_t eights_of(const Tensor& w) {
    return static_cast<std::size_t>(w.rows) * static_cast<std::size_t>(w.cols) / 8;
}

template <class M>
VIGIL_DEVICE void unpack_matrix(M& m, const Tensor& w, std::uint16_t* halves) {
    const auto n_threads = static_cast<std::size_t>(m.team.n_threads());
    const std::size_t step = static_cast<std::size_t>(m.team.n_blocks()) * n_threads;
    std::size_t i = static_cast<std::size_t>(m.team.block()) * n_threads + static_cast<std::size_t>(m.team.thread());
    for (; i < eights_of(w); i += step) {
        float values[8];
        load_eight(m.team, w, i, values);
        EightHalves eight;
        VIGIL_UNROLL
        for (int j = 0; j < 8; ++j) eight.v[j] = to_half(m.team, fminf(fmaxf(values[j], -kMaxHalf), kMaxHalf));
        *reinterpret_cast<EightHalves*>(halves + 8 * i) = eight;
    }
}

}  // namespace vigil::device
