// The 16-bit conversions against their definition, over all 65,536 values.
#include "host/gguf/float16.h"

#include <cmath>
#include <doctest/doctest.h>
#include <limits>

using namespace vigil::gguf;

namespace {

// The value of a finite half from its fields.
double half_by_definition(std::uint16_t half) {
    const int exponent = (half >> 10) & 31;
    const int mantissa = half & 1023;
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

bool is_finite_half(std::uint32_t half) {
    return (half & 0x7c00) != 0x7c00;
}

}  // namespace

TEST_CASE("every half converts to its value and back") {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = half_to_float(half);
        CAPTURE(bits);
        if (is_finite_half(bits)) {
            REQUIRE(double{value} == half_by_definition(half));
            REQUIRE(std::signbit(value) == (bits >= 0x8000));
            REQUIRE(float_to_half(value) == half);
        } else if ((bits & 1023) == 0) {
            REQUIRE(std::isinf(value));
            REQUIRE(float_to_half(value) == half);
        } else {
            REQUIRE(std::isnan(value));
            REQUIRE(std::isnan(half_to_float(float_to_half(value))));
        }
    }
}

TEST_CASE("floats between two halves round to the nearest, ties to even") {
    for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
        const auto low = static_cast<std::uint16_t>(bits);
        const auto high = static_cast<std::uint16_t>(bits + 1);
        const float middle = (half_to_float(low) + half_to_float(high)) / 2;  // exact: one bit more than a half has
        CAPTURE(bits);
        REQUIRE(float_to_half(middle) == (bits % 2 == 0 ? low : high));
        REQUIRE(float_to_half(-middle) == ((bits % 2 == 0 ? low : high) | 0x8000));
        REQUIRE(float_to_half(std::nextafter(middle, 0.0f)) == low);
        REQUIRE(float_to_half(std::nextafter(middle, 1e9f)) == high);
    }
}

TEST_CASE("what is too large for a half becomes infinity, what is too small zero") {
    CHECK(float_to_half(65504.0f) == 0x7bff);
    CHECK(float_to_half(65519.99f) == 0x7bff);
    CHECK(float_to_half(65520.0f) == 0x7c00);
    CHECK(float_to_half(-1e30f) == 0xfc00);
    CHECK(float_to_half(std::numeric_limits<float>::infinity()) == 0x7c00);
    CHECK(float_to_half(std::ldexp(1.0f, -25)) == 0);
    CHECK(float_to_half(-std::numeric_limits<float>::denorm_min()) == 0x8000);
}

TEST_CASE("every bfloat16 converts to its value and back") {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        const auto number = static_cast<std::uint16_t>(bits);
        const float value = bfloat16_to_float(number);
        CAPTURE(bits);
        REQUIRE(std::bit_cast<std::uint32_t>(value) == bits << 16);
        if (std::isnan(value)) {
            REQUIRE(std::isnan(bfloat16_to_float(float_to_bfloat16(value))));
        } else {
            REQUIRE(float_to_bfloat16(value) == number);
        }
    }
}

TEST_CASE("floats round to the nearest bfloat16, ties to even, overflow to infinity") {
    CHECK(float_to_bfloat16(1.0f + 0x1p-8f) == 0x3f80);
    CHECK(float_to_bfloat16(1.0f + 3 * 0x1p-8f) == 0x3f82);
    CHECK(float_to_bfloat16(1.0f + 0x1.1p-8f) == 0x3f81);
    CHECK(float_to_bfloat16(-std::numeric_limits<float>::max()) == 0xff80);
    CHECK(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7f800001u)))));
}
