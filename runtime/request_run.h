// One request from submission to its end: what the client's Generation and the engine's threads share.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/engine.h"

namespace vigil {

using Clock = std::chrono::steady_clock;

// Milliseconds between two points in time.
inline double ms_between(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

class RequestRun;

// Who makes the kernel end a run. Outlived by runs, which therefore hold it weakly.
class Canceller {
   public:
    virtual ~Canceller() = default;
    virtual void cancel(RequestRun& run) = 0;
};

class RequestRun {
   public:
    // `id` > 0, never reused. `spin`: how long next() looks for a token before it sleeps.
    RequestRun(Request request, std::uint64_t id, std::chrono::microseconds spin, std::weak_ptr<Canceller> canceller);

    const Request request;
    const std::uint64_t id;
    const Clock::time_point submitted = Clock::now();

    // ---- the client's side ----
    std::optional<TokenResult> next();
    bool wait_for(std::chrono::milliseconds time);
    void cancel();
    // Constant once next() has returned nothing.
    struct End {
        FinishReason reason = FinishReason::kNone;
        bool by_text = false;
        std::string error;
        RequestStatistics statistics;
    };
    const End& end() const noexcept { return end_; }

    // ---- the engine's side ----
    bool cancelled() const noexcept { return cancelled_; }
    void publish(TokenResult token);
    // The first call counts; nothing is published after it.
    void finish(End end);
    // The same for a run whose job never reached the kernel.
    void finish_early(FinishReason reason, std::string error);
    bool finished() const;
    // When the engine began to work on it. Writer: the submitting thread, before the job is in the ring.
    Clock::time_point begun;
    // How the prompt's tokens come into the KV cache.
    struct PromptWork {
        std::int32_t reused = 0;  // are there already
        std::int32_t prefilled = 0;
        std::int32_t fed = 0;
    };
    void set_prompt_work(const PromptWork& work);
    PromptWork prompt_work() const;
    RequestStatistics statistics_so_far() const;
    // What the kernel made of the job, whether the client still wanted it or not. Writer: whoever takes the job off the
    // list of those under way, before it does.
    struct Outcome {
        FinishReason reason = FinishReason::kNone;  // of the kernel
        std::vector<Token> tokens;                  // generated
        std::int32_t n_scored = 0;
    };
    Outcome outcome;

   private:
    const std::chrono::microseconds spin_;
    const std::weak_ptr<Canceller> canceller_;
    std::atomic<bool> cancelled_{false};
    std::atomic<std::uint32_t> changes_{0};  // of what the mutex guards
    mutable std::mutex mutex_;               // of all below
    std::condition_variable changed_;
    PromptWork prompt_work_;
    std::deque<TokenResult> tokens_;
    bool finished_ = false;
    End end_;
};

}  // namespace vigil
