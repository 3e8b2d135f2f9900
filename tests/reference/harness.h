// Runs a model on any device without the engine: uploads it, lays out the rings in plain sight, and runs single steps,
// whole tokens or the resident loop, so that a test can look at what each phase left.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "device/model.h"
#include "host/device.h"
#include "host/gguf/gguf.h"
#include "host/model.h"
#include "host/workspace.h"
#include "tests/reference/test_device.h"

namespace vigil::reference {

class Harness {
   public:
    struct Options {
        int max_seq_len = 256;
        int n_blocks = 0;       // 0: the device chooses
        int max_kv_splits = 0;  // 0: the device chooses
        std::uint32_t event_capacity = 1024;
        int logits_rows = 0;                         // room for kJobEmitLogits
        std::chrono::milliseconds lease{60'000};     // without a sign of life from the host
        std::chrono::milliseconds deadline{60'000};  // of any other wait in the kernel
    };

    Harness(const gguf::File& file, host::Device& device, const Options& options);
    ~Harness();  // stops a kernel that a failed test has left running
    Harness(const Harness&) = delete;
    Harness& operator=(const Harness&) = delete;

    const device::ModelConfig& config() const noexcept { return args_.config; }
    const device::KernelArgs& args() const noexcept { return args_; }

    // A job with the next free id over `tokens`, of which the first `n_cached` are in the KV cache already.
    ring::DecodeJob make_job(std::span<const std::int32_t> tokens, int n_cached, int max_new_tokens);
    // Puts a job into the ring. The one before must have finished.
    void submit(const ring::DecodeJob& job, std::span<const std::int32_t> tokens);

    // One step or token; returns when it has run.
    void run_step(int step);
    void run_token(host::Dispatch dispatch = host::Dispatch::launch);
    // Runs a job to its end and returns its events, kFinished included. Throws std::runtime_error if no event comes for
    // two minutes or the kernel reports a fault.
    std::vector<ring::TokenEvent> run(const ring::DecodeJob& job, std::span<const std::int32_t> tokens,
                                      host::Dispatch dispatch);

    // The resident loop step by step, for a test that plays the host itself.
    void launch();
    bool resident() const { return device_.resident(); }
    void renew_lease();
    // Tells the kernel to leave, and waits. Throws std::runtime_error if it does not.
    void park();
    // Waits for a kernel that leaves by itself, without a sign of life; false if it has not by then.
    bool wait_until_left(std::chrono::milliseconds timeout) { return device_.wait_parked(timeout); }
    ring::Fault fault() const;

    // All events that have arrived since the last call.
    std::vector<ring::TokenEvent> take_events();
    // How many those were so far: the ring index of the next.
    std::uint32_t events_taken() const noexcept { return n_events_; }
    // Events in the ring that have not been taken.
    std::uint32_t unread_events() const;

    // Copies from and to device memory, complete on return.
    std::vector<float> read(const float* from, int n) const;
    device::DecodeState read_state() const;
    void write_state(const device::DecodeState& state);
    std::vector<std::uint16_t> read_keys() const;
    std::vector<std::uint16_t> read_values() const;
    void write_cache(std::span<const std::uint16_t> keys, std::span<const std::uint16_t> values);

    // Row `row` of what kJobEmitLogits left.
    std::span<const float> emitted_logits(int row) const;

   private:
    template <class T>
    T* pinned(std::size_t count);
    void command(ring::Command command);
    std::size_t cache_elements() const;

    host::Device& device_;
    std::unique_ptr<host::Model> model_;
    std::unique_ptr<host::Workspace> workspace_;
    device::KernelArgs args_;
    std::vector<void*> pinned_;
    ring::JobSlot* jobs_ = nullptr;
    std::int32_t* job_tokens_ = nullptr;
    ring::HostControl* control_ = nullptr;
    std::uint64_t next_id_ = 1;
    std::uint32_t n_jobs_ = 0;
    std::uint32_t n_events_ = 0;
};

}  // namespace vigil::reference
