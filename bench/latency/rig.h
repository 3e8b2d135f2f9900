// A model with its rings in plain sight and no engine, so that nothing but the kernel and the ring is timed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/model.h"
#include "host/device.h"
#include "host/model.h"
#include "host/workspace.h"
#include "ringbuf/messages.h"

namespace vigil::bench {

struct JobSpec {
    std::int32_t n_cached = 0;  // the KV cache's random values; one random token more is fed
    std::int32_t max_new_tokens = 1;
    ring::SamplingParams sampling;
};

struct JobTrace {
    std::chrono::nanoseconds first_event{};  // host clock, from before the job was written into the ring
    std::vector<std::int32_t> tokens;
    std::vector<std::uint64_t> token_times;  // device clock in ns, modulo 2^48
};

class Rig {
   public:
    // Lays `model` over the device with `n_blocks` (0: the device's choice) and fills the whole KV cache with small
    // random values. Throws DeviceError. `device` and `model` outlive it.
    Rig(host::Device& device, const host::Model& model, int n_blocks);
    ~Rig();
    Rig(const Rig&) = delete;
    Rig& operator=(const Rig&) = delete;

    const device::KernelArgs& args() const noexcept { return args_; }

    // Makes ready for jobs under `dispatch`: for persistent, returns when the kernel is resident and idle.
    void start(host::Dispatch dispatch);
    // The kernel leaves the device.
    void stop();

    // Runs one job to its end. Stop tokens are ignored. Under graph and launch dispatch one token is always enqueued
    // ahead, but never one that the job can't need. Throws DeviceError naming the kernel's state if nothing comes for
    // 20 s.
    JobTrace run(const JobSpec& spec);
    // Makes a job active and leaves it there, before its first token, for single steps. Not while the kernel is
    // resident; nothing else can be run on this rig after it.
    void hold(const JobSpec& spec);

   private:
    template <class T>
    T* pinned(std::size_t count);
    void submit(const JobSpec& spec);
    void enqueue_tokens(std::size_t wanted, std::size_t n_seen, std::size_t& n_enqueued);
    void keep_alive(std::chrono::steady_clock::time_point last_event);
    bool take_event(ring::TokenEvent& event);

    host::Device& device_;
    host::Workspace workspace_;
    device::KernelArgs args_;
    std::vector<void*> pinned_;
    ring::JobSlot* jobs_ = nullptr;
    std::int32_t* job_tokens_ = nullptr;
    ring::HostControl* control_ = nullptr;
    host::Dispatch dispatch_ = host::Dispatch::launch;
    std::vector<std::int32_t> prompt_;  // [max_seq_len] random tokens, the start of every job's prompt
    std::uint64_t next_id_ = 1;
    std::uint32_t n_jobs_ = 0;
    std::uint32_t n_events_ = 0;
};

}  // namespace vigil::bench
