// A matrix as FP16: halves[r, c] = w[r, c], for a GEMM library that takes no other format.
//   reads   w [rows, cols] in its own format
//   writes  halves [rows, cols]
//   split   rows over blocks
#pragma once

#include "device/prefill/common.cuh"

namespace vigil::device {

// Written at once.
struct alignas(16) EightHalves {
    std::uint16_t v[8];
};

template <class M>
VIGIL_DEVICE void unpack_matrix(M& m, const Tensor& w, std::uint16_t* halves) {
    for (int row = m.team.block(); row < w.rows; row += m.team.n_blocks()) {
        const char* from = row_pointer(w, row);
        std::uint16_t* to = halves + row_offset(row, w.cols);
        for (int chunk = m.team.thread(); chunk < w.cols / 8; chunk += m.team.n_threads()) {
            float values[8];
            load_weights8(m.team, w.format, from, chunk, values);
            EightHalves eight;
            VIGIL_UNROLL
            for (int i = 0; i < 8; ++i) eight.v[i] = to_half(m.team, fminf(fmaxf(values[i], -kMaxHalf), kMaxHalf));
            *reinterpret_cast<EightHalves*>(to + 8 * chunk) = eight;
        }
    }
}

}  // namespace vigil::device
