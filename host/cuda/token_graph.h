// All steps of one token as a CUDA graph, captured once and replayed while the kernel arguments stay the same.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "device/model.h"
#include "host/cuda/handles.h"

namespace vigil::host::cuda {

class TokenGraph {
   public:
    // Enqueues the token's steps. Captures them anew if `args` differ from those of the last call.
    void launch(const device::KernelArgs& args, const Stream& stream);

   private:
    void capture(const device::KernelArgs& args, const Stream& stream);

    std::optional<GraphExec> exec_;
    std::vector<std::byte> captured_args_;
};

// Enqueues step `step` of a token as an ordinary launch.
void launch_step(const device::KernelArgs& args, std::int32_t step, const Stream& stream);

}  // namespace vigil::host::cuda
