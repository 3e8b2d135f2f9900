// The instruction sets of the CPU machine: what each offers to the leaves on vectors of eight floats or whole numbers.
#pragma once

#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "device/model.h"
#include "device/seams/block_constants.h"
#include "device/seams/qualifiers.h"

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
    static VIGIL_DEVICE Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
    static VIGIL_DEVICE Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
    static VIGIL_DEVICE void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
    static VIGIL_DEVICE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    static VIGIL_DEVICE std::uint16_t to_half(float v) {
        return static_cast<std::uint16_t>(_cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT));
    }
    static VIGIL_DEVICE float from_half(std::uint16_t half) { return _cvtsh_ss(half); }

    // Eight whole numbers, and what the block formats do with them.
    using Ints = __m256i;
    static VIGIL_DEVICE Ints load_bytes(const char* p) {
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    }
    static VIGIL_DEVICE Ints load_signed_bytes(const char* p) {
        return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    }
    // Bits 0 to 7 of `word`, one each.
    static VIGIL_DEVICE Ints bits(std::uint32_t word) {
        const __m256i spread =
            _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(word)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        return _mm256_and_si256(spread, _mm256_set1_epi32(1));
    }
    static VIGIL_DEVICE Ints mask(Ints v, int bits) { return _mm256_and_si256(v, _mm256_set1_epi32(bits)); }
    static VIGIL_DEVICE Ints join(Ints a, Ints b) { return _mm256_or_si256(a, b); }
    static VIGIL_DEVICE Ints shift_left(Ints v, int by) { return _mm256_slli_epi32(v, by); }
    static VIGIL_DEVICE Ints shift_right(Ints v, int by) { return _mm256_srli_epi32(v, by); }
    static VIGIL_DEVICE Ints add(Ints v, int n) { return _mm256_add_epi32(v, _mm256_set1_epi32(n)); }
    static VIGIL_DEVICE Ints look_up(const ByteTable& table, Ints number) {
        const __m256i both =
            _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table.words)));
        const __m256i found = _mm256_shuffle_epi8(both, number);  // in the lowest byte; above it are others
        return _mm256_srai_epi32(_mm256_slli_epi32(found, 24), 24);
    }
    static VIGIL_DEVICE Vector to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }
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
    static VIGIL_DEVICE Vector multiply(const Vector& a, const Vector& b) {
        Vector v;
        for (int i = 0; i < 8; ++i) v.lane[i] = a.lane[i] * b.lane[i];
        return v;
    }
    static VIGIL_DEVICE Vector add(const Vector& a, const Vector& b) {
        Vector v;
        for (int i = 0; i < 8; ++i) v.lane[i] = a.lane[i] + b.lane[i];
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
    static VIGIL_DEVICE float from_half(std::uint16_t half) { return half_to_float(half); }

    struct Ints {
        std::int32_t lane[8];
    };
    template <class Make>
    static VIGIL_DEVICE Ints each(Make&& make) {
        Ints v;
        for (int i = 0; i < 8; ++i) v.lane[i] = make(i);
        return v;
    }
    static VIGIL_DEVICE Ints load_bytes(const char* p) {
        return each([&](int i) { return static_cast<unsigned char>(p[i]); });
    }
    static VIGIL_DEVICE int sign_extended(unsigned byte) { return static_cast<int>(byte ^ 0x80u) - 0x80; }
    static VIGIL_DEVICE Ints load_signed_bytes(const char* p) {
        return each([&](int i) { return sign_extended(static_cast<unsigned char>(p[i])); });
    }
    static VIGIL_DEVICE Ints bits(std::uint32_t word) {
        return each([&](int i) { return static_cast<std::int32_t>(word >> i & 1u); });
    }
    static VIGIL_DEVICE Ints mask(const Ints& v, int bits) {
        return each([&](int i) { return v.lane[i] & bits; });
    }
    static VIGIL_DEVICE Ints join(const Ints& a, const Ints& b) {
        return each([&](int i) { return a.lane[i] | b.lane[i]; });
    }
    static VIGIL_DEVICE Ints shift_left(const Ints& v, int by) {
        return each([&](int i) { return v.lane[i] << by; });
    }
    static VIGIL_DEVICE Ints shift_right(const Ints& v, int by) {
        return each([&](int i) { return v.lane[i] >> by; });
    }
    static VIGIL_DEVICE Ints add(const Ints& v, int n) {
        return each([&](int i) { return v.lane[i] + n; });
    }
    static VIGIL_DEVICE Ints look_up(const ByteTable& table, const Ints& number) {
        return each(
            [&](int i) { return sign_extended(table.words[number.lane[i] / 4] >> number.lane[i] % 4 * 8 & 0xffu); });
    }
    static VIGIL_DEVICE Vector to_floats(const Ints& v) {
        Vector f;
        for (int i = 0; i < 8; ++i) f.lane[i] = static_cast<float>(v.lane[i]);
        return f;
    }
};

}  // namespace vigil::device
