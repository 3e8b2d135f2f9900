#include "runtime/request_run.h"

#include <utility>

namespace vigil {

RequestRun::RequestRun(Request the_request, std::uint64_t the_id, std::chrono::microseconds spin,
                       std::weak_ptr<Canceller> canceller)
    : request(std::move(the_request)), id(the_id), spin_(spin), canceller_(std::move(canceller)) {}

std::optional<TokenResult> RequestRun::next() {
    const auto ready = [&] { return !tokens_.empty() || finished_; };
    std::unique_lock lock(mutex_);
    if (!ready() && spin_.count() > 0) {
        const std::uint32_t seen = changes_;
        lock.unlock();
        const auto give_up = Clock::now() + spin_;
        while (changes_ == seen && Clock::now() < give_up) __builtin_ia32_pause();
        lock.lock();
    }
    changed_.wait(lock, ready);  // bounded: the supervisor ends every run whose kernel falls silent
    if (tokens_.empty()) return std::nullopt;
    TokenResult token = std::move(tokens_.front());
    tokens_.pop_front();
    return token;
}

bool RequestRun::wait_for(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [&] { return !tokens_.empty() || finished_; });
}

void RequestRun::cancel() {
    cancelled_ = true;
    if (finished()) return;
    if (const auto canceller = canceller_.lock()) canceller->cancel(*this);
}

void RequestRun::publish(TokenResult token) {
    {
        const std::lock_guard lock(mutex_);
        if (finished_) return;
        tokens_.push_back(std::move(token));
        ++changes_;
    }
    changed_.notify_all();
}

void RequestRun::finish(End end) {
    {
        const std::lock_guard lock(mutex_);
        if (finished_) return;
        end_ = std::move(end);
        finished_ = true;
        ++changes_;
    }
    changed_.notify_all();
}

void RequestRun::finish_early(FinishReason reason, std::string error) {
    End end{.reason = reason, .by_text = false, .error = std::move(error), .statistics = statistics_so_far()};
    end.statistics.total_ms = ms_between(submitted, Clock::now());
    finish(std::move(end));
}

RequestStatistics RequestRun::statistics_so_far() const {
    RequestStatistics statistics;
    statistics.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
    const PromptWork work = prompt_work();
    statistics.reused_tokens = work.reused;
    statistics.prefilled_tokens = work.prefilled;
    statistics.fed_tokens = work.fed;
    return statistics;
}

void RequestRun::set_prompt_work(const PromptWork& work) {
    const std::lock_guard lock(mutex_);
    prompt_work_ = work;
}

RequestRun::PromptWork RequestRun::prompt_work() const {
    const std::lock_guard lock(mutex_);
    return prompt_work_;
}

bool RequestRun::finished() const {
    const std::lock_guard lock(mutex_);
    return finished_;
}

}  // namespace vigil
