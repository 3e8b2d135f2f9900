#include "runtime/submission.h"

#include <algorithm>
#include <span>
#include <utility>

namespace vigil {
namespace {

constexpr std::chrono::seconds kSleep{1};
// The kernel gives a slot back a microsecond or two after the event that ends its job: worth a look, then naps.
constexpr std::chrono::microseconds kLook{20};
constexpr std::chrono::microseconds kNap{20};

// Leading positions of the prompt that may be taken from the KV cache.
std::int32_t most_reused(const Request& request) {
    const bool may_reuse_all = request.reuse_prefix && !request.score;
    return may_reuse_all ? static_cast<std::int32_t>(request.prompt.size()) - 1 : request.n_cached;
}

}  // namespace

Submission::Submission(host::Device& device, const device::KernelArgs& args, SharedMemory& memory,
                       host::Prefill& prefill, Tokenizer const& tokenizer, Completions& completions,
                       Supervisor& supervisor, const Options& options)
    : device_(device),
      args_(args),
      memory_(memory),
      prefill_(prefill),
      tokenizer_(tokenizer),
      completions_(completions),
      supervisor_(supervisor),
      options_(options),
      jobs_(memory.job_slots.data(), args.job_capacity, &memory.status->jobs_consumed, 0, 0),
      slots_(options.parallel, args.config.max_seq_len / options.parallel),
      thread_([this] { serve_all(); }) {}

Submission::~Submission() {
    stop();
}

void Submission::submit(std::shared_ptr<RequestRun> run) {
    if (serve_at_once(run)) return;
    completions_.expect();
    auto owned = std::make_unique<std::shared_ptr<RequestRun>>(std::move(run));
    ++waiting_;
    if (!queue_.push(owned.get())) {
        --waiting_;
        throw std::bad_alloc();
    }
    static_cast<void>(owned.release());
    bell_.open();
}

void Submission::stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    bell_.open();
    thread_.join();
}

void Submission::serve_all() {
    for (;;) {
        const std::uint32_t seen = bell_.value();
        std::shared_ptr<RequestRun>* taken = nullptr;
        if (queue_.pop(taken)) {
            const std::unique_ptr<std::shared_ptr<RequestRun>> owned(taken);
            const std::lock_guard lock(serving_);
            serve(*owned);
        } else if (stopping_) {
            return;
        } else {
            wait_for_request(seen);
        }
    }
}

void Submission::wait_for_request(std::uint32_t seen) {
    const auto give_up = Clock::now() + options_.linger;
    while (Clock::now() < give_up) {
        if (bell_.value() != seen) return;
        __builtin_ia32_pause();
    }
    bell_.await_for(seen, kSleep);
}

bool Submission::serve_at_once(const std::shared_ptr<RequestRun>& run) {
    if (options_.dispatch != Dispatch::persistent || run->request.score) return false;
    const std::unique_lock lock(serving_, std::try_to_lock);
    // A request that waits counts until it is served, which is done with the lock held.
    if (!lock || waiting_ != 0 || stopping_ || supervisor_.lost() || !kernel_has_no_job()) return false;
    settle();
    const std::int32_t reused = slots_.find(run->request.prompt, most_reused(run->request)).n_reused;
    if (to_prefill(run->request, reused) > 0) return false;
    try {
        begin(run);
    } catch (const host::DeviceError& e) {
        fail(*run, e.what());
    }
    return true;
}

void Submission::serve(const std::shared_ptr<RequestRun>& run) {
    const auto give_up = [&](FinishReason reason, const std::string& error) {
        --waiting_;
        run->finish_early(reason, error);
    };
    if (stopping_ || run->cancelled()) return give_up(FinishReason::kCancelled, {});
    bool begun = false;
    try {
        if (!device_error_.empty()) throw host::DeviceError(device_error_);
        if (supervisor_.lost()) throw host::DeviceError(supervisor_.lost_reason());
        run->begun = Clock::now();
        if (!wait_until(*run, [this] { return kernel_has_no_job(); })) return give_up(FinishReason::kCancelled, {});
        begun = true;
        --waiting_;
        settle();
        begin(run);
    } catch (const host::DeviceError& e) {
        if (options_.dispatch != Dispatch::persistent) device_error_ = e.what();
        if (!begun) --waiting_;
        fail(*run, e.what());
    }
}

void Submission::begin(const std::shared_ptr<RequestRun>& run) {
    run->begun = Clock::now();
    place(*run);
    if (run->prompt_work().prefilled > 0) prefill(*run);
    const std::uint32_t slot = jobs_.next() & (args_.job_capacity - 1);
    std::copy(run->request.prompt.begin(), run->request.prompt.end(),
              memory_.job_tokens.begin() + static_cast<std::ptrdiff_t>(slot) * args_.config.max_seq_len);
    const ring::DecodeJob job = make_job(*run);
    last_ = run;
    completions_.admit(run, slot, [&] {
        jobs_.try_push(job);  // the ring is empty
        pushed_ = jobs_.next();
    });
    if (options_.dispatch == Dispatch::persistent)
        supervisor_.ensure_resident();
    else
        run_tokens();
}

void Submission::fail(RequestRun& run, const std::string& error) {
    slots_.forget_all();
    last_.reset();
    completions_.end_all(FinishReason::kFault, error, {});
    run.finish_early(FinishReason::kFault, error);
}

void Submission::settle() {
    if (last_ == nullptr) return;
    const std::shared_ptr<RequestRun> last = std::exchange(last_, nullptr);
    const RequestRun& run = *last;
    if (run.outcome.reason == FinishReason::kFault) return slots_.forget_all();
    // Each token but the last was fed to obtain the next. (A cancelled job may have fed one more: it is not missed.)
    const std::span<const Token> prompt(run.request.prompt);
    const std::size_t held = slots_.tokens(slot_).size();
    const std::span<const Token> generated(run.outcome.tokens);
    if (!generated.empty()) {
        slots_.append(slot_, prompt.subspan(held));
        slots_.append(slot_, generated.first(generated.size() - 1));
    } else if (run.request.score && run.outcome.reason == FinishReason::kLength) {
        slots_.append(slot_, prompt.subspan(held));
    } else {
        slots_.append(slot_, prompt.subspan(held, static_cast<std::size_t>(run.outcome.n_scored)));
    }
}

std::int32_t Submission::to_prefill(const Request& request, std::int32_t reused) const {
    if (request.score) return request.n_cached - reused;  // the kernel feeds all that is to be scored
    const auto before_last = static_cast<std::int32_t>(request.prompt.size()) - 1;
    return before_last - reused > options_.in_kernel_prompt ? before_last - reused : 0;
}

void Submission::place(RequestRun& run) {
    const Request& request = run.request;
    const KvSlots::Place place = slots_.claim(request.prompt, most_reused(request));
    slot_ = place.slot;
    RequestRun::PromptWork work{.reused = place.n_reused, .prefilled = to_prefill(request, place.n_reused), .fed = 0};
    work.fed = static_cast<std::int32_t>(request.prompt.size()) - work.reused - work.prefilled;
    run.set_prompt_work(work);
}

void Submission::prefill(const RequestRun& run) {
    const RequestRun::PromptWork planned = run.prompt_work();
    const auto work = [&] {
        std::int32_t first = planned.reused;
        std::span<const Token> rest(run.request.prompt);
        rest = rest.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(planned.prefilled));
        while (!rest.empty() && !run.cancelled() && !stopping_) {
            const auto piece = rest.first(std::min(rest.size(), static_cast<std::size_t>(options_.prefill_piece)));
            prefill_.run(piece, first, slots_.first_row(slot_));
            slots_.append(slot_, piece);
            first += static_cast<std::int32_t>(piece.size());
            rest = rest.subspan(piece.size());
        }
    };
    if (options_.dispatch == Dispatch::persistent)
        supervisor_.with_parked(work);
    else
        work();
    ++prefills_;
}

ring::DecodeJob Submission::make_job(const RequestRun& run) const {
    const Request& request = run.request;
    ring::DecodeJob job;
    job.id = run.id;
    job.n_prompt = static_cast<std::int32_t>(request.prompt.size());
    const RequestRun::PromptWork work = run.prompt_work();
    job.n_cached = work.reused + work.prefilled;
    job.first_token = request.prompt[static_cast<std::size_t>(job.n_cached)];
    job.kv_first = slots_.first_row(slot_);
    job.kv_rows = slots_.rows();
    job.max_new_tokens = request.max_new_tokens;
    if (request.ignore_eos) job.flags |= ring::kJobIgnoreEos;
    if (request.score) job.flags |= ring::kJobScore;
    if (request.emit_logits) job.flags |= ring::kJobEmitLogits;
    job.sampling = request.sampling;
    job.n_alternatives = static_cast<std::int16_t>(request.top_logprobs);
    for (const Token token : tokenizer_.end_of_generation()) {
        if (job.n_stop_tokens == ring::kMaxStopTokens) break;
        job.stop_tokens[job.n_stop_tokens++] = token;
    }
    return job;
}

bool Submission::wait_until(const RequestRun& run, const std::function<bool()>& condition) {
    for (;;) {
        const std::uint32_t seen = bell_.value();
        if (condition()) return true;
        if (supervisor_.lost()) throw host::DeviceError(supervisor_.lost_reason());
        if (stopping_ || run.cancelled()) return false;
        if (completions_.outstanding() == 0)
            std::this_thread::sleep_for(kNap);
        else
            bell_.await_for(seen, kSleep);
    }
}

bool Submission::kernel_has_no_job() const {
    if (completions_.outstanding() != 0) return false;
    const auto consumed = [this] { return ring::load_acquire(&memory_.status->jobs_consumed) == jobs_.next(); };
    if (consumed()) return true;
    for (const auto give_up = Clock::now() + kLook; Clock::now() < give_up;) {
        if (consumed()) return true;
        __builtin_ia32_pause();
    }
    return false;
}

// Enqueues tokens until the job just pushed has ended, one ahead of the token that runs: a step does nothing when no
// job is active.
void Submission::run_tokens() {
    const auto done = [&] { return ring::load_acquire(&memory_.status->jobs_consumed) == jobs_.next(); };
    std::uint32_t enqueued = ring::load_relaxed(&memory_.status->tokens);
    while (!done()) {
        if (stopping_) completions_.cancel_all();
        device_.run_token(args_, options_.dispatch);
        ++enqueued;
        const auto give_up = Clock::now() + options_.deadline;
        while (static_cast<std::int32_t>(enqueued - ring::load_relaxed(&memory_.status->tokens)) > 1 && !done()) {
            __builtin_ia32_pause();
            if (Clock::now() < give_up) continue;
            // A token that had no room for its event does not count: begin to count anew.
            device_.synchronize();
            enqueued = ring::load_relaxed(&memory_.status->tokens);
        }
    }
    device_.synchronize();
}

}  // namespace vigil
