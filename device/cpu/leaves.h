// The arithmetic leaves on the CPU: the overloads of device/seams/leaves_cuda.cuh for CpuTeam.
//
// An Isa offers the conversions; the loops around them are plain, over eight independent sums, and the compiler
// vectorises them for the instruction set that the including file is compiled for.
#pragma once

#include <cstring>
#include <math.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "device/cpu/team.h"
#include "device/model.h"

namespace vigil::device {

#if defined(__AVX2__)
// AVX2, FMA and F16C (Haswell and later).
struct Avx2 {
    using Vector = __m256;
    static VIGIL_DEVICE Vector zero() { return _mm256_setzero_ps(); }
    static VIGIL_DEVICE Vector load(const float* p) { return _mm256_loadu_ps(p); }
    static VIGIL_DEVICE Vector broadcast(float v) { return _mm256_set1_ps(v); }
    static VIGIL_DEVICE Vector load_f16(const char* p) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static VIGIL_DEVICE Vector load_bf16(const char* p) {
        const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
    static VIGIL_DEVICE Vector fused(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
    static VIGIL_DEVICE void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
    static VIGIL_DEVICE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    static VIGIL_DEVICE std::uint16_t to_half(float v) {
        return static_cast<std::uint16_t>(_cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT));
    }
};
#endif

// Whatever the compiler's default target offers; conversions by integer arithmetic.
struct Baseline {
    struct Vector {
        float lane[8];
    };
    static VIGIL_DEVICE float half_to_float(std::uint16_t half) {
        // Shift the exponent into place and rescale: exact for every finite half, subnormals included.
        const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
        const float magnitude = ring::bits_float(static_cast<std::uint32_t>(half & 0x7fffu) << 13) * 0x1p112f;
        const std::uint32_t special = (half & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
        return ring::bits_float(ring::float_bits(magnitude) | sign | special);
    }
    static VIGIL_DEVICE Vector zero() { return {}; }
    static VIGIL_DEVICE Vector load(const float* p) {
        Vector v;
        std::memcpy(v.lane, p, sizeof v.lane);
        return v;
    }
    static VIGIL_DEVICE Vector broadcast(float v) {
        Vector all;
        for (float& lane : all.lane) lane = v;
        return all;
    }
    static VIGIL_DEVICE Vector load_f16(const char* p) {
        std::uint16_t raw[8];
        std::memcpy(raw, p, sizeof raw);
        Vector v;
        for (int i = 0; i < 8; ++i) v.lane[i] = half_to_float(raw[i]);
        return v;
    }
    static VIGIL_DEVICE Vector load_bf16(const char* p) {
        std::uint16_t raw[8];
        std::memcpy(raw, p, sizeof raw);
        Vector v;
        for (int i = 0; i < 8; ++i) v.lane[i] = ring::bits_float(static_cast<std::uint32_t>(raw[i]) << 16);
        return v;
    }
    static VIGIL_DEVICE Vector fused(const Vector& a, const Vector& b, const Vector& c) {
        Vector v;
        for (int i = 0; i < 8; ++i) v.lane[i] = a.lane[i] * b.lane[i] + c.lane[i];
        return v;
    }
    static VIGIL_DEVICE void store(float* p, const Vector& v) { std::memcpy(p, v.lane, sizeof v.lane); }
    static VIGIL_DEVICE float fused(float a, float b, float c) { return a * b + c; }
    static VIGIL_DEVICE std::uint16_t to_half(float v) {
        const std::uint32_t bits = ring::float_bits(v);
        const std::uint32_t sign = bits >> 16 & 0x8000u;
        const std::uint32_t magnitude = bits & 0x7fffffffu;
        if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
        if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
        if (magnitude < 0x38800000u) {
            // Adding 0.5 lines the subnormal's bits up with the last place of the sum, which rounds to even.
            const float lined_up = ring::bits_float(magnitude) + 0.5f;
            return static_cast<std::uint16_t>(sign | (ring::float_bits(lined_up) - 0x3f000000u));
        }
        const std::uint32_t odd = magnitude >> 13 & 1u;
        return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
    }
};

// The eight sums in a fixed tree.
template <class Isa>
VIGIL_DEVICE float horizontal_sum(const typename Isa::Vector& v) {
    float s[8];
    Isa::store(s, v);
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

template <class Isa>
VIGIL_DEVICE void start_row(const CpuTeam<Isa>&, const char*, int, typename CpuTeam<Isa>::Ahead&) {}

template <class Isa>
VIGIL_DEVICE float finish_row(const CpuTeam<Isa>&, typename CpuTeam<Isa>::Ahead&, TensorFormat format, const char* row,
                              int cols, const float* x) {
    const auto run = [&](auto load_weights) {
        // Four sums hide the latency of the multiply-add.
        typename Isa::Vector sum[4] = {Isa::zero(), Isa::zero(), Isa::zero(), Isa::zero()};
        int i = 0;
        for (; i + 32 <= cols; i += 32)
            for (int j = 0; j < 4; ++j)
                sum[j] = Isa::fused(load_weights(row + 2 * (i + 8 * j)), Isa::load(x + i + 8 * j), sum[j]);
        for (; i < cols; i += 8) sum[0] = Isa::fused(load_weights(row + 2 * i), Isa::load(x + i), sum[0]);
        return (horizontal_sum<Isa>(sum[0]) + horizontal_sum<Isa>(sum[1])) +
               (horizontal_sum<Isa>(sum[2]) + horizontal_sum<Isa>(sum[3]));
    };
    if (format == TensorFormat::kF16) return run([](const char* p) { return Isa::load_f16(p); });
    return run([](const char* p) { return Isa::load_bf16(p); });
}

template <class Isa>
VIGIL_DEVICE void load_weights8(const CpuTeam<Isa>&, TensorFormat format, const char* row, int chunk, float (&out)[8]) {
    const char* p = row + 16 * static_cast<std::size_t>(chunk);
    Isa::store(out, format == TensorFormat::kF16 ? Isa::load_f16(p) : Isa::load_bf16(p));
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
