#include "host/cuda/token_graph.h"

#include <algorithm>
#include <span>

#include "device/launch.h"

namespace vigil::host::cuda {

void launch_step(const device::KernelArgs& args, std::int32_t step, const Stream& stream) {
    check(device::cuda::launch_step(args, step, stream.get()), "launch of a token's step");
}

void TokenGraph::launch(const device::KernelArgs& args, const Stream& stream) {
    // Padding may make equal arguments look different, which costs a capture and nothing else.
    const auto bytes = std::as_bytes(std::span(&args, 1));
    if (!exec_ || !std::ranges::equal(bytes, captured_args_)) {
        capture(args, stream);
        captured_args_.assign(bytes.begin(), bytes.end());
    }
    exec_->launch(stream);
}

void TokenGraph::capture(const device::KernelArgs& args, const Stream& stream) {
    stream.synchronize();  // the old graph may still run
    exec_.reset();
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    try {
        for (std::int32_t step = 0; step < device::n_steps(args.config); ++step) launch_step(args, step, stream);
    } catch (...) {
        // The stream must leave capture mode, or nothing could ever be launched on it again.
        if (cudaStreamEndCapture(stream.get(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
        cudaGetLastError();
        throw;
    }
    check(cudaStreamEndCapture(stream.get(), &graph), "cudaStreamEndCapture");
    exec_.emplace(graph);
}

}  // namespace vigil::host::cuda
