// A model with its rings in plain sight and no engine, so that nothing but the kernel and the ring is timed.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "device/model.h"
#include "host/device.h"
#include "host/model.h"
#include "host/prefill.h"
#include "host/workspace.h"
#include "ringbuf/messages.h"
#include "runtime/shared_memory.h"
#include "runtime/trace.h"

namespace vigil::bench {

struct JobSpec {
    std::int32_t n_cached = 0;  // positions before the prompt's tokens: the KV cache's random values
    std::int32_t n_prompt = 1;  // random tokens to feed; the last one's logits give the first token
    std::int32_t max_new_tokens = 1;
    ring::SamplingParams sampling;
};

struct JobTimes {
    std::chrono::nanoseconds prefill{};      // host clock: the prompt but its last token, 0 if the kernel fed it
    std::chrono::nanoseconds first_event{};  // host clock, from before anything was done for the job
    std::chrono::nanoseconds written{};      // the same, until the job was in the ring
    std::chrono::nanoseconds on_device{};    // device clock: from the job being taken to its first event
    std::vector<std::int32_t> tokens;
    std::vector<std::uint64_t> token_times;  // device clock in ns, modulo 2^48
};

// Rig::run was told to end.
class Interrupted : public std::runtime_error {
   public:
    Interrupted() : std::runtime_error("interrupted") {}
};

struct RigOptions {
    int n_blocks = 0;      // 0: the device's choice
    bool prefill = false;  // jobs with long prompts will be run
    bool use_cublas = true;
    TraceOptions trace;
    const std::atomic<bool>* interrupted = nullptr;  // once true, run() throws Interrupted
    std::function<void(const std::string&)> on_warning;
};

class Rig {
   public:
    // Lays `model` over the device and fills the whole KV cache with small random values. Throws DeviceError. `device`
    // and `model` outlive it.
    Rig(host::Device& device, const host::Model& model, const RigOptions& options);
    ~Rig();
    Rig(const Rig&) = delete;
    Rig& operator=(const Rig&) = delete;

    const device::KernelArgs& args() const noexcept { return args_; }
    const host::Model& model() const noexcept { return model_; }
    const char* gemm_name() const noexcept { return prefill_ ? prefill_->gemm_name() : ""; }

    // Makes ready for jobs under `dispatch`: for persistent, returns when the kernel is resident and idle.
    void start(host::Dispatch dispatch);
    // The kernel leaves the device.
    void stop();

    // Runs one job to its end. Stop tokens are ignored. A prompt of more than a few tokens is prefilled as the engine
    // does it: the resident kernel parks, and comes back with the job in the ring. Under graph and launch dispatch one
    // token is always enqueued ahead, but never one that the job can't need. Throws DeviceError naming the kernel's
    // state if nothing comes for 20 s.
    JobTimes run(const JobSpec& spec);
    // Makes a job active and leaves it there, before its first token, for single steps. Not while the kernel is
    // resident; nothing else can be run on this rig after it.
    void hold(const JobSpec& spec);

    // The timeline of the last job's tokens that RigOptions::trace names, under `name`; forgotten by the next start().
    // The kernel must be parked.
    Trace trace(const std::string& name) const { return {.name = name, .records = trace_.read()}; }

   private:
    void launch();
    void prefill(const JobSpec& spec, JobTimes& times);
    void submit(const JobSpec& spec, std::int32_t n_cached);
    void collect(const JobSpec& spec, std::chrono::steady_clock::time_point begin, JobTimes& times);
    void enqueue_tokens(std::size_t wanted, std::size_t n_seen, std::size_t& n_enqueued);
    void keep_alive(std::chrono::steady_clock::time_point last_event);
    bool take_event(ring::TokenEvent& event);

    host::Device& device_;
    const host::Model& model_;
    const std::atomic<bool>* interrupted_;
    host::Workspace workspace_;
    device::KernelArgs args_;
    TraceMemory trace_;
    SharedMemory memory_;
    std::unique_ptr<host::Prefill> prefill_;
    host::Dispatch dispatch_ = host::Dispatch::launch;
    std::vector<std::int32_t> prompt_;  // [max_seq_len] random tokens, the start of every job's prompt
    std::uint64_t next_id_ = 1;
    std::uint32_t n_jobs_ = 0;
    std::uint32_t n_events_ = 0;
};

}  // namespace vigil::bench
