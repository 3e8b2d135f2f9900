// Owners of CUDA's handles. None of them waits in its destructor for work that may never end.
#pragma once

#include <cstddef>
#include <cuda_runtime.h>
#include <utility>

#include "host/cuda/error.h"

namespace vigil::host::cuda {

// Does not synchronise with the default stream.
class Stream {
   public:
    enum class Priority { normal, highest };
    explicit Stream(Priority priority);
    ~Stream() { cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    cudaStream_t get() const noexcept { return stream_; }
    void synchronize() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

   private:
    cudaStream_t stream_ = nullptr;
};

// Waiting for it gives the core away; it keeps no time.
class Event {
   public:
    Event();
    ~Event() { cudaEventDestroy(event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    cudaEvent_t get() const noexcept { return event_; }
    void record(const Stream& stream) { check(cudaEventRecord(event_, stream.get()), "cudaEventRecord"); }
    // True once everything before the last record has run, or if nothing was recorded.
    bool reached() const;
    void synchronize() const { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

   private:
    cudaEvent_t event_ = nullptr;
};

// Page-locked host memory that the GPU reads and writes at the same address. Zeroed.
class PinnedBuffer {
   public:
    explicit PinnedBuffer(std::size_t bytes);
    ~PinnedBuffer() { cudaFreeHost(memory_); }
    PinnedBuffer(PinnedBuffer&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
    PinnedBuffer& operator=(PinnedBuffer&&) = delete;

    void* get() const noexcept { return memory_; }

   private:
    void* memory_ = nullptr;
};

// Zeroed memory of the current GPU.
class DeviceBuffer {
   public:
    // `stream` does the zeroing; returns when it is done.
    DeviceBuffer(std::size_t bytes, const Stream& stream);
    ~DeviceBuffer() { cudaFree(memory_); }
    DeviceBuffer(DeviceBuffer&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
    DeviceBuffer& operator=(DeviceBuffer&&) = delete;

    void* get() const noexcept { return memory_; }

   private:
    void* memory_ = nullptr;
};

// A captured sequence of launches, ready to be replayed.
class GraphExec {
   public:
    // Takes the graph over, also when it throws.
    explicit GraphExec(cudaGraph_t captured);
    ~GraphExec() { cudaGraphExecDestroy(exec_); }
    GraphExec(const GraphExec&) = delete;
    GraphExec& operator=(const GraphExec&) = delete;

    void launch(const Stream& stream) const { check(cudaGraphLaunch(exec_, stream.get()), "cudaGraphLaunch"); }

   private:
    cudaGraphExec_t exec_ = nullptr;
};

}  // namespace vigil::host::cuda
