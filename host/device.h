// One machine that can hold a model and run the resident kernel: a CUDA GPU, or the CPU through host threads.
// Everything above this interface is the same for both.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "device/launch.h"
#include "device/model.h"
#include "device/prefill_launch.h"

namespace vigil::host {

class DeviceError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

enum class Dispatch {
    persistent,  // the resident kernel
    graph,       // one captured CUDA graph per token
    launch,      // one ordinary launch per phase
};

struct DeviceInfo {
    std::string name;          // "NVIDIA H200", "CPU"
    std::string architecture;  // "sm_90", "avx2"
    bool is_cuda = false;
    int index = 0;            // CUDA ordinal
    int multiprocessors = 1;  // or worker threads
    std::size_t memory_bytes = 0;
    std::size_t free_bytes = 0;
};

class Device {
   public:
    virtual ~Device() = default;
    virtual const DeviceInfo& info() const = 0;

    // Memory; zeroed. Freed by the Device's destructor at the latest. Throws DeviceError naming the size.
    // None of these may be called while the kernel is resident: CUDA may synchronise in them.
    virtual void* allocate(std::size_t bytes) = 0;
    virtual void release(void* memory) = 0;
    // Host memory that the device reads and writes in place at the same address.
    virtual void* allocate_pinned(std::size_t bytes) = 0;
    virtual void release_pinned(void* memory) = 0;

    // Copies; upload returns when `from` may be reused, download when `to` is complete. Uploads go through a
    // stream of their own and need flush_uploads() before a kernel reads them.
    virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
    virtual void flush_uploads() = 0;
    virtual void download(void* to, const void* from, std::size_t bytes) = 0;

    // How `config` is laid over this machine; n_blocks 0 lets the machine choose.
    virtual device::GridPlan plan(const device::ModelConfig& config, int n_blocks = 0) = 0;

    // Whether this machine has the Hopper path, and a model of `config`, whose stream needs are set, fits it: its
    // weights are then to be in tiles (device/sm90/tiles.h).
    virtual bool streams(const device::ModelConfig&) { return false; }

    // Starts the resident kernel with `args` and returns at once. The kernel parks by itself or when told to.
    virtual void launch_resident(const device::KernelArgs& args) = 0;
    // True while it runs. Never blocks.
    virtual bool resident() = 0;
    // Waits until it has left; false if `timeout` passes first.
    virtual bool wait_parked(std::chrono::milliseconds timeout) = 0;

    // Enqueues all steps of one token under graph or launch dispatch. May return before they have run.
    virtual void run_token(const device::KernelArgs& args, Dispatch dispatch) = 0;
    // Enqueues one step (see device::step_at) under launch dispatch, so that a test can look at what a phase left.
    virtual void run_step(const device::KernelArgs& args, std::int32_t step) = 0;
    // Enqueues the steps of a chunk in order, as ordinary launches. May return before they have run.
    virtual void run_prefill(const device::PrefillChunk& chunk, std::span<const device::PrefillStep> steps) = 0;
    // The stream of all ordinary launches (a cudaStream_t), for a library that adds its own; null on the CPU.
    virtual void* launch_stream() = 0;
    // Waits for all ordinary launches enqueued so far.
    virtual void synchronize() = 0;
};

// `cpu_threads` 0: as many as the machine has cores.
std::unique_ptr<Device> make_cpu_device(int cpu_threads = 0);
// Throws DeviceError if the build has no CUDA, or the device can't run vigil; the text says which and the mend.
std::unique_ptr<Device> make_cuda_device(int index);
int cuda_device_count() noexcept;

}  // namespace vigil::host
