// The timeline: what every block did during chosen tokens, from the kernel's records to a file that Perfetto opens.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/model.h"
#include "host/device.h"

namespace vigil {

// Which of a job's generated tokens are recorded, counted from 0.
struct TraceOptions {
    std::int32_t first_token = 0;
    std::int32_t n_tokens = 0;  // 0: none, and no memory for them
};

// What one run left: one process of the timeline.
struct Trace {
    std::string name;                                       // device and run, such as "NVIDIA H200, persistent"
    std::vector<std::vector<device::TraceRecord>> records;  // of each block, by their begin

    bool empty() const noexcept;
};

// Device memory for the records of the last job.
class TraceMemory {
   public:
    // Allocates on `device`, which must outlive it, while no kernel is resident; `args` names config and plan, its
    // fields of the trace are set. Throws DeviceError, also for options that make no sense.
    TraceMemory(host::Device& device, device::KernelArgs& args, const TraceOptions& options);
    ~TraceMemory();
    TraceMemory(const TraceMemory&) = delete;
    TraceMemory& operator=(const TraceMemory&) = delete;

    // What was recorded since the last clear(). Only while the kernel is parked, as clear().
    std::vector<std::vector<device::TraceRecord>> read() const;
    void clear();

   private:
    host::Device& device_;
    const std::size_t n_blocks_;
    const std::size_t per_block_;  // records
    device::TraceRecord* records_ = nullptr;
};

// The records in `memory`, block by block with `per_block` slots each: empty slots left out, by their begin.
std::vector<std::vector<device::TraceRecord>> sort_records(std::span<const device::TraceRecord> memory,
                                                           std::size_t per_block);

// Hands out, piece by piece, the traces in the JSON form of Chrome's trace event format (times in microseconds): each
// is a process that begins at 0, with a row for its tokens and one for each multiprocessor. A phase is a complete event
// with layer and token as its arguments; the time it waited is a slice "wait" inside of it.
// Format: "Trace Event Format", Google, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
void write_chrome_trace(std::span<const Trace> traces, const std::function<void(std::string_view)>& write);

// Where a block's time went, by phase: nanoseconds per token, as the mean over blocks and tokens.
struct PhaseTime {
    ring::Phase phase = ring::Phase::kNone;
    double total_ns = 0;  // of all layers together
    double wait_ns = 0;   // of that, waiting
};

// In the order of execution; phases without a record are left out.
std::vector<PhaseTime> phase_times(const Trace& trace);

}  // namespace vigil
