#include "runtime/completions.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>
#include <vector>

#include "runtime/stop_strings.h"

namespace vigil {
namespace {

// A silence this long means that no token is about to come, and polling may give its core away.
constexpr std::chrono::milliseconds kSpinSilence{5};
constexpr std::chrono::microseconds kNap{50};
constexpr std::chrono::seconds kSleep{1};
// A thread that has just seen the last job end looks a little longer: the next request often follows at once.
constexpr std::chrono::microseconds kLinger{1000};

}  // namespace

// A job in the kernel's hands.
struct Completions::Job {
    Job(std::shared_ptr<RequestRun> the_run, const Tokenizer& tokenizer, std::uint32_t the_slot)
        : run(std::move(the_run)),
          decoder(tokenizer),
          stops(run->request.stop),
          slot(the_slot),
          statistics(run->statistics_so_far()) {}

    std::shared_ptr<RequestRun> run;
    StreamingDecoder decoder;
    StopMatcher stops;
    std::uint32_t slot;
    // Tokens whose text is not decided yet: part of a UTF-8 sequence, or perhaps of a stop text.
    std::vector<TokenResult> withheld;
    std::vector<TokenAlternative> alternatives;  // to the token that comes next
    RequestStatistics statistics;
    bool has_events = false;
    std::uint64_t last_time_ns = 0;  // of an event, continued beyond 48 bits
    bool ended = false;              // by a stop text or a cancel: what the kernel still sends is dropped

    // Hands out the withheld tokens but the last `but`: what text they have is known.
    void release_withheld(std::size_t but = 0) {
        const auto end = withheld.end() - static_cast<std::ptrdiff_t>(std::min(but, withheld.size()));
        for (auto token = withheld.begin(); token != end; ++token) run->publish(std::move(*token));
        withheld.erase(withheld.begin(), end);
    }
    // What no later token can change any more belongs to the last one.
    void complete_text() {
        if (withheld.empty()) return;
        const StopMatcher::Step rest = stops.push(decoder.finish());
        withheld.back().text += rest.text + stops.finish();
    }
    void end(FinishReason reason, const std::string& error, bool by_text = false) {
        if (ended) return;
        ended = true;
        if (!by_text) complete_text();
        release_withheld();
        statistics.total_ms = ms_between(run->submitted, Clock::now());
        run->finish({reason, by_text, error, statistics});
    }
};

Completions::Completions(const Tokenizer& tokenizer, SharedMemory& memory, Options options)
    : tokenizer_(tokenizer), memory_(memory), options_(std::move(options)), thread_([this] { poll(); }) {}

Completions::~Completions() {
    stop();
}

void Completions::stop() {
    stopping_ = true;
    bell_.open();
    if (thread_.joinable()) thread_.join();
}

void Completions::admit(const std::shared_ptr<RequestRun>& run, std::uint32_t slot, const std::function<void()>& push) {
    {
        const std::lock_guard lock(mutex_);
        // Whoever cancels sets the mark first and looks for the job then, so one of the two sees the other.
        if (run->cancelled()) return;
        jobs_.push_back(std::make_unique<Job>(run, tokenizer_, slot));
        ++outstanding_;
        push();
    }
    bell_.open();
}

void Completions::cancel(RequestRun& run) {
    const std::lock_guard lock(mutex_);
    for (const auto& job : jobs_) {
        if (job->run.get() != &run) continue;
        ring::store_relaxed(&memory_.job_cancel[job->slot], run.id);
        // The client need not wait for the kernel, which may be parked.
        job->end(FinishReason::kCancelled, {});
        return;
    }
    run.finish_early(FinishReason::kCancelled, {});
}

void Completions::cancel_all() {
    const std::lock_guard lock(mutex_);
    for (const auto& job : jobs_) ring::store_relaxed(&memory_.job_cancel[job->slot], job->run->id);
}

void Completions::end_all(FinishReason reason, const std::string& error,
                          const std::function<void(std::uint32_t)>& then) {
    {
        const std::lock_guard lock(mutex_);
        drain();
        while (!jobs_.empty()) end_front(reason, error);
        if (then) then(next_event_);
    }
    options_.on_finished();
}

void Completions::poll() {
    auto last_event = Clock::now();
    while (!stopping_) {
        const std::uint32_t seen = bell_.value();
        if (event_ready()) {
            const std::lock_guard lock(mutex_);
            drain();
            last_event = Clock::now();
            continue;
        }
        const auto silence = Clock::now() - last_event;
        if (outstanding_ == 0) {
            if (!options_.spins || silence > kLinger) {
                bell_.await_for(seen, kSleep);
                last_event = Clock::now();
            }
        } else if (options_.spins && silence < kSpinSilence) {
            __builtin_ia32_pause();
        } else {
            std::this_thread::sleep_for(kNap);
        }
    }
}

bool Completions::event_ready() const {
    ring::TokenEvent event;
    const std::uint32_t next = next_event_;
    return ring::decode(&memory_.event_slots[next & (memory_.event_slots.size() - 1)], &event, next + 1);
}

void Completions::drain() {
    ring::EventConsumer events(memory_.event_slots.data(), static_cast<std::uint32_t>(memory_.event_slots.size()),
                               next_event_);
    ring::TokenEvent event;
    while (events.try_pop(&event)) {
        next_event_ = events.next();
        // Pairs with the kernel's load_acquire when it looks for room.
        ring::store_release(&memory_.control->events_consumed, events.next());
        take(event);
    }
}

void Completions::take(const ring::TokenEvent& event) {
    if (jobs_.empty() || event.job != (jobs_.front()->run->id & 0xffffu)) return;  // of a job that was given up
    Job& job = *jobs_.front();
    if (event.kind == ring::EventKind::kFinished) {
        end_front(event.reason, event.reason == FinishReason::kFault
                                    ? fmt::format("the kernel refused the job: {} prompt tokens, {} of them cached",
                                                  job.run->request.prompt.size(),
                                                  job.statistics.reused_tokens + job.statistics.prefilled_tokens)
                                    : std::string());
        options_.on_finished();
        return;
    }
    if (event.kind == ring::EventKind::kToken) job.run->outcome.tokens.push_back(event.token);
    if (event.kind == ring::EventKind::kScore) ++job.run->outcome.n_scored;
    if (job.ended) return;
    if (event.kind == ring::EventKind::kAlternative)
        job.alternatives.push_back({event.token, event.logprob});
    else
        take_token(job, event);
}

void Completions::take_token(Job& job, const ring::TokenEvent& event) {
    const std::uint64_t step_ns = (event.time_ns - job.last_time_ns) & ring::kTimeMask;
    TokenResult token{.id = event.token,
                      .text = {},
                      .logprob = event.logprob,
                      .time_ns = job.has_events ? job.last_time_ns + step_ns : event.time_ns,
                      .alternatives = std::exchange(job.alternatives, {})};
    if (!job.has_events) {
        const auto now = Clock::now();
        job.statistics.time_to_first_token_ms = ms_between(job.run->submitted, now);
        job.statistics.prefill_ms = ms_between(std::max(job.run->begun, last_end_), now);
    } else {
        job.statistics.token_ms.push_back(static_cast<double>(step_ns) * 1e-6);
    }
    job.has_events = true;
    job.last_time_ns = token.time_ns;
    if (event.kind == ring::EventKind::kScore) {
        job.run->publish(std::move(token));
        return;
    }
    ++job.statistics.generated_tokens;
    const StopMatcher::Step step = job.stops.push(job.decoder.push(event.token));
    token.text = step.text;
    job.withheld.push_back(std::move(token));
    if (step.found) {
        job.end(FinishReason::kStopToken, {}, true);
        ring::store_relaxed(&memory_.job_cancel[job.slot], job.run->id);
        return;
    }
    StreamingDecoder decoder_now = job.decoder;
    const bool all_decided = !job.stops.holds() && decoder_now.finish().empty();
    // Text that came out with this token was the older ones'. Without this a model that falls into broken characters,
    // or repeats what a stop text begins with, would be heard only at its end.
    if (all_decided || !step.text.empty()) job.release_withheld(all_decided ? 0 : 1);
}

void Completions::end_front(FinishReason reason, const std::string& error) {
    jobs_.front()->end(reason, error);
    jobs_.front()->run->outcome.reason = reason;
    last_end_ = Clock::now();
    jobs_.pop_front();
    --outstanding_;
}

}  // namespace vigil
