// The prefill steps that run on tensor cores, or feed them: what prefill_cuda.cu asks of prefill_sm80.cu.
#pragma once

#include <cuda_runtime.h>

#include "device/prefill_launch.h"

namespace vigil::device::sm80 {

// Whether `step` of a chunk with `tensor_cores` has a kernel here. The others run in their portable form.
bool has_step(const PrefillChunk& chunk, const PrefillStep& step);
cudaError_t launch(const PrefillChunk& chunk, const PrefillStep& step, cudaStream_t stream);
// Loads the kernels and asks for the shared memory they need. Only where supported() is true.
cudaError_t prepare();
// Whether the current GPU and the code in this binary for it have these kernels.
bool supported();

}  // namespace vigil::device::sm80
