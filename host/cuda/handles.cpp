#include "host/cuda/handles.h"

#include <cstring>
#include <fmt/format.h>

namespace vigil::host::cuda {
namespace {

std::string out_of_memory(const char* what, std::size_t bytes, cudaError_t error) {
    cudaGetLastError();
    std::size_t free = 0;
    std::size_t total = 0;
    cudaMemGetInfo(&free, &total);
    return fmt::format("can't allocate {} bytes ({} MiB) of {}: {}; {} MiB of the GPU's {} MiB are free", bytes,
                       bytes >> 20, what, describe(error), free >> 20, total >> 20);
}

}  // namespace

Stream::Stream(Priority priority) {
    int least = 0;
    int greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check(
        cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, priority == Priority::highest ? greatest : least),
        "cudaStreamCreateWithPriority");
}

Event::Event() {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming | cudaEventBlockingSync),
          "cudaEventCreateWithFlags");
}

bool Event::reached() const {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) {
        cudaGetLastError();
        return false;
    }
    check(state, "cudaEventQuery");
    return true;
}

PinnedBuffer::PinnedBuffer(std::size_t bytes) {
    const cudaError_t error = cudaHostAlloc(&memory_, bytes, cudaHostAllocMapped | cudaHostAllocPortable);
    if (error != cudaSuccess) throw DeviceError(out_of_memory("page-locked host memory", bytes, error));
    std::memset(memory_, 0, bytes);
    void* on_device = nullptr;
    const cudaError_t mapped = cudaHostGetDevicePointer(&on_device, memory_, 0);
    if (mapped == cudaSuccess && on_device == memory_) return;
    cudaGetLastError();
    cudaFreeHost(memory_);
    throw DeviceError(
        fmt::format("the GPU sees page-locked host memory at {} where the host has it at {} ({}); vigil "
                    "needs one address for both",
                    on_device, memory_, describe(mapped)));
}

DeviceBuffer::DeviceBuffer(std::size_t bytes, const Stream& stream) {
    const cudaError_t error = cudaMalloc(&memory_, bytes);
    if (error != cudaSuccess) throw DeviceError(out_of_memory("GPU memory", bytes, error));
    try {
        check(cudaMemsetAsync(memory_, 0, bytes, stream.get()), "cudaMemsetAsync");
        stream.synchronize();
    } catch (...) {
        cudaFree(memory_);
        throw;
    }
}

GraphExec::GraphExec(cudaGraph_t captured) {
#if CUDART_VERSION >= 12000
    const cudaError_t error = cudaGraphInstantiate(&exec_, captured, 0);
#else
    const cudaError_t error = cudaGraphInstantiate(&exec_, captured, nullptr, nullptr, 0);
#endif
    cudaGraphDestroy(captured);
    check(error, "cudaGraphInstantiate");
}

}  // namespace vigil::host::cuda
