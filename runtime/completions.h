// The end of the event ring: one thread reads the kernel's events while jobs are under way and hands tokens to the
// requests they belong to, as text, ending a generation at its stop texts.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "host/cpu/block_pool.h"
#include "runtime/request_run.h"
#include "runtime/shared_memory.h"

namespace vigil {

class Completions final : public Canceller {
   public:
    struct Options {
        bool spins = false;  // poll without sleeping while events come: for a kernel that shares no cores
        std::function<void()> on_finished;  // a job has ended; called on the thread that saw it
    };

    // `tokenizer` and `memory` must outlive it.
    Completions(const Tokenizer& tokenizer, SharedMemory& memory, Options options);
    ~Completions() override;

    // Makes `run` the youngest job under way and puts its job into the ring with `push`, as one step. Nothing is done
    // if `run` is cancelled. `slot` is the job's in the ring.
    void admit(const std::shared_ptr<RequestRun>& run, std::uint32_t slot, const std::function<void()>& push);

    // A job is about to come: the thread wakes up meanwhile.
    void expect() {
        if (options_.spins) bell_.open();
    }

    // Jobs under way.
    std::uint32_t outstanding() const noexcept { return outstanding_; }

    // Ends `run`; the kernel ends its job, if it has it, within one token.
    void cancel(RequestRun& run) override;
    // The kernel ends all jobs within one token.
    void cancel_all();

    // Reads what is left in the ring, then ends every job under way with `reason` and `error`. `then` runs before any
    // other job can be admitted and is told the index of the next event.
    void end_all(FinishReason reason, const std::string& error, const std::function<void(std::uint32_t)>& then);

    // Ends the thread.
    void stop();

   private:
    struct Job;

    void poll();
    bool event_ready() const;
    void drain();  // with mutex_ held
    void take(const ring::TokenEvent& event);
    void take_token(Job& job, const ring::TokenEvent& event);
    void end_front(FinishReason reason, const std::string& error);

    const Tokenizer& tokenizer_;
    SharedMemory& memory_;
    const Options options_;
    host::Gate bell_;  // jobs came, or the end
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint32_t> outstanding_{0};  // jobs_.size()
    std::atomic<std::uint32_t> next_event_{0};   // written with mutex_ held
    std::mutex mutex_;                           // of jobs_, last_end_ and the ring's consumer
    std::deque<std::unique_ptr<Job>> jobs_;      // in the ring's order
    Clock::time_point last_end_;                 // of a job
    std::thread thread_;
};

}  // namespace vigil
