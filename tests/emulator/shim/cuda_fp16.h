// CUDA's half precision types, for the emulator.
#pragma once

#include "tests/emulator/shim/cuda_intrinsics.h"

struct __half {
    std::uint16_t bits;
};
struct __half2 {
    __half x, y;
};

inline float __half2float(__half h) {
    return static_cast<float>(bit_cast_to<_Float16>(h.bits));
}
inline __half __float2half_rn(float v) {
    return {bit_cast_to<std::uint16_t>(static_cast<_Float16>(v))};
}
inline unsigned short __half_as_ushort(__half h) {
    return h.bits;
}
inline __half __ushort_as_half(unsigned short bits) {
    return {bits};
}
inline __half2 __floats2half2_rn(float a, float b) {
    return {__float2half_rn(a), __float2half_rn(b)};
}
inline float2 __half22float2(__half2 v) {
    return {__half2float(v.x), __half2float(v.y)};
}
inline float __low2float(__half2 v) {
    return __half2float(v.x);
}
inline float __high2float(__half2 v) {
    return __half2float(v.y);
}
