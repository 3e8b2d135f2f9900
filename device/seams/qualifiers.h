// The one macro that marks device code. nvcc compiles it for the GPU, g++ for the CPU machine.
// Always inlined for the reason given in ringbuf/ordering.h.
#pragma once

#include "ringbuf/ordering.h"

#if defined(__CUDACC__)
#define VIGIL_DEVICE __device__ __forceinline__
// A function that is called: one copy of it in a kernel, however many callers.
#define VIGIL_DEVICE_CALLED static __device__ __noinline__
// For what hardly ever runs, so that it does not stand in the instruction cache's way.
#define VIGIL_DEVICE_COLD __device__ __noinline__
#define VIGIL_UNROLL _Pragma("unroll")
#define VIGIL_PRAGMA(x) _Pragma(#x)
#define VIGIL_UNROLL_BY(n) VIGIL_PRAGMA(unroll n)
#else
#define VIGIL_DEVICE inline __attribute__((always_inline))
#define VIGIL_DEVICE_COLD inline __attribute__((always_inline))
#define VIGIL_DEVICE_CALLED inline
#define VIGIL_UNROLL
#define VIGIL_UNROLL_BY(n)
#endif
