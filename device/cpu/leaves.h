// The arithmetic leaves on the CPU: the overloads of device/seams/leaves_cuda.cuh for CpuTeam.
//
// An Isa offers the conversions; the loops around them are plain, over eight independent sums, and the compiler
// vectorises them for the instruction set that the including file is compiled for.
#pragma once

#include <cstring>
#include <math.h>

#include "device/cpu/formats.h"
#include "device/cpu/isa.h"
#include "device/cpu/team.h"
#include "device/model.h"

namespace vigil::device {

// The eight sums in a fixed tree.
template <class Isa>
VIGIL_DEVICE float horizontal_sum(const typename Isa::Vector& v) {
    float s[8];
    Isa::store(s, v);
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

// Four neighbouring floats of a product's input go where they belong; i is a multiple of 4. The GPU keeps sums beside
// them, the CPU does not.
template <class Isa>
VIGIL_DEVICE void put_input4(const CpuTeam<Isa>&, float* x, int, int i, const float (&v)[4], bool) {
    for (int j = 0; j < 4; ++j) x[i + j] = v[j];
}

template <class Isa>
VIGIL_DEVICE void start_row(const CpuTeam<Isa>&, TensorFormat, const char*, int, typename CpuTeam<Isa>::Ahead&) {}

// row · x for weights that are stored one by one, `Bytes` each.
template <class Isa, int Bytes, class LoadWeights>
VIGIL_DEVICE float multiply_plain(const char* row, int cols, const float* x, LoadWeights&& load_weights) {
    // Four sums hide the latency of the multiply-add.
    typename Isa::Vector sum[4] = {Isa::zero(), Isa::zero(), Isa::zero(), Isa::zero()};
    int i = 0;
    for (; i + 32 <= cols; i += 32)
        for (int j = 0; j < 4; ++j)
            sum[j] = Isa::fused(load_weights(row + Bytes * (i + 8 * j)), Isa::load(x + i + 8 * j), sum[j]);
    for (; i < cols; i += 8) sum[0] = Isa::fused(load_weights(row + Bytes * i), Isa::load(x + i), sum[0]);
    return (horizontal_sum<Isa>(sum[0]) + horizontal_sum<Isa>(sum[1])) +
           (horizontal_sum<Isa>(sum[2]) + horizontal_sum<Isa>(sum[3]));
}

template <class Isa>
VIGIL_DEVICE typename Isa::Vector load_f32(const char* p) {
    return Isa::load(reinterpret_cast<const float*>(p));
}

template <class Isa>
VIGIL_DEVICE float finish_row(const CpuTeam<Isa>&, typename CpuTeam<Isa>::Ahead&, TensorFormat format, const char* row,
                              int cols, const float* x) {
    if (format == TensorFormat::kF16)
        return multiply_plain<Isa, 2>(row, cols, x, [](const char* p) { return Isa::load_f16(p); });
    if (format == TensorFormat::kBF16)
        return multiply_plain<Isa, 2>(row, cols, x, [](const char* p) { return Isa::load_bf16(p); });
    if (format == TensorFormat::kF32)
        return multiply_plain<Isa, 4>(row, cols, x, [](const char* p) { return load_f32<Isa>(p); });
    return with_block_format(format, [&](auto tag) {
        return horizontal_sum<Isa>(multiply_blocks<Isa, decltype(tag)::value>(row, cols, x));
    });
}

// Several rows at once, one per lane: of which there is one.
template <class Isa>
VIGIL_DEVICE float multiply_rows(const CpuTeam<Isa>& team, TensorFormat format, const char* row, std::size_t, int,
                                 int cols, const float* x) {
    typename CpuTeam<Isa>::Ahead nothing;
    return finish_row(team, nothing, format, row, cols, x);
}

template <class Isa>
VIGIL_DEVICE void prefetch_row(const CpuTeam<Isa>&, const char*, std::size_t) {}

// Weights [8 * chunk, 8 * chunk + 8) of what begins with a whole block at `data`: a row, or a matrix.
template <class Isa>
VIGIL_DEVICE void load_weights8(const CpuTeam<Isa>&, TensorFormat format, const char* data, std::size_t chunk,
                                float (&out)[8]) {
    if (format == TensorFormat::kF16) return Isa::store(out, Isa::load_f16(data + 16 * chunk));
    if (format == TensorFormat::kBF16) return Isa::store(out, Isa::load_bf16(data + 16 * chunk));
    if (format == TensorFormat::kF32) return Isa::store(out, load_f32<Isa>(data + 32 * chunk));
    with_block_format(format, [&](auto tag) {
        constexpr TensorFormat kFormat = decltype(tag)::value;
        constexpr int kEighths = block_weights(kFormat) / 8;
        const char* block = data + chunk / kEighths * block_bytes(kFormat);
        Isa::store(out, weights_of_block<Isa, kFormat>(block, static_cast<int>(chunk % kEighths)));
    });
}

// The same of a matrix: of a row, or counted through all rows.
template <class Isa>
VIGIL_DEVICE void load_weights8(const CpuTeam<Isa>& team, const Tensor& w, int row, int chunk, float (&out)[8]) {
    const auto offset = static_cast<std::size_t>(row) * static_cast<std::size_t>(row_bytes(w.format, w.cols));
    load_weights8(team, w.format, static_cast<const char*>(w.data) + offset, static_cast<std::size_t>(chunk), out);
}
template <class Isa>
VIGIL_DEVICE void load_eight(const CpuTeam<Isa>& team, const Tensor& w, std::size_t i, float (&out)[8]) {
    load_weights8(team, w.format, static_cast<const char*>(w.data), i, out);
}

template <class Isa>
VIGIL_DEVICE const std::uint16_t* fetch_half8(const CpuTeam<Isa>&, const std::uint16_t* p) {
    return p;
}
template <class Isa>
VIGIL_DEVICE const std::uint16_t* fetch_shared_half8(const CpuTeam<Isa>&, const std::uint16_t* p) {
    return p;
}
template <class Isa>
VIGIL_DEVICE void unpack_half8(const CpuTeam<Isa>&, const std::uint16_t* raw, float (&out)[8]) {
    Isa::store(out, Isa::load_f16(reinterpret_cast<const char*>(raw)));
}

template <class Isa>
VIGIL_DEVICE void load_shared8(const CpuTeam<Isa>&, const float* p, float (&out)[8]) {
    Isa::store(out, Isa::load(p));
}

template <class Isa>
VIGIL_DEVICE std::uint16_t to_half(const CpuTeam<Isa>&, float v) {
    return Isa::to_half(v);
}

template <class Isa>
VIGIL_DEVICE void turn_sincos(const CpuTeam<Isa>&, float turns, float* sine, float* cosine) {
    const float angle = 6.283185307179586f * turns;
    *sine = sinf(angle);
    *cosine = cosf(angle);
}

template <class Isa>
VIGIL_DEVICE float exponential(const CpuTeam<Isa>&, float x) {
    return expf(x);
}

template <class Isa>
VIGIL_DEVICE float inverse_sqrt(const CpuTeam<Isa>&, float x) {
    return 1.0f / sqrtf(x);
}

template <class Isa>
VIGIL_DEVICE float fused(const CpuTeam<Isa>&, float a, float b, float c) {
    return Isa::fused(a, b, c);
}

}  // namespace vigil::device
