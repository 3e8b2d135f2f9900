#include "runtime/submission.h"

#include <algorithm>
#include <span>
#include <utility>

namespace vigil {
namespace {

constexpr std::chrono::seconds kSleep{1};
// The kernel gives a slot back just after the event that ends its job, so this wait is short and rare.
constexpr std::chrono::microseconds kNap{20};

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
      thread_([this] { serve_all(); }) {}

Submission::~Submission() {
    stop();
}

void Submission::submit(std::shared_ptr<RequestRun> run) {
    auto owned = std::make_unique<std::shared_ptr<RequestRun>>(std::move(run));
    if (!queue_.push(owned.get())) throw std::bad_alloc();
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

void Submission::serve(const std::shared_ptr<RequestRun>& run) {
    if (stopping_ || run->cancelled()) return run->finish_early(FinishReason::kCancelled, {});
    try {
        if (!device_error_.empty()) throw host::DeviceError(device_error_);
        if (supervisor_.lost()) throw host::DeviceError(supervisor_.lost_reason());
        run->begun = Clock::now();
        const std::int32_t n_prefill = tokens_to_prefill(run->request);
        // The KV cache is the engine's only one: a prompt may enter it when the job before is done with it.
        if (n_prefill > 0) {
            if (!wait_until(*run, [this] { return kernel_has_no_job(); }))
                return run->finish_early(FinishReason::kCancelled, {});
            run->begun = Clock::now();
            prefill(*run, n_prefill);
        }
        if (!wait_until(*run, [this] { return job_ring_has_room(); }))
            return run->finish_early(FinishReason::kCancelled, {});
        const ring::DecodeJob job = make_job(*run, run->request.n_cached + n_prefill);
        const std::uint32_t slot = jobs_.next() & (args_.job_capacity - 1);
        std::copy(run->request.prompt.begin(), run->request.prompt.end(),
                  memory_.job_tokens.begin() + static_cast<std::ptrdiff_t>(slot) * args_.config.max_seq_len);
        completions_.admit(run, slot, [&] {
            jobs_.try_push(job);  // there is room
            pushed_ = jobs_.next();
        });
        if (options_.dispatch == Dispatch::persistent)
            supervisor_.ensure_resident();
        else
            run_tokens();
    } catch (const host::DeviceError& e) {
        if (options_.dispatch != Dispatch::persistent) device_error_ = e.what();
        completions_.end_all(FinishReason::kFault, e.what(), {});
        run->finish_early(FinishReason::kFault, e.what());
    }
}

std::int32_t Submission::tokens_to_prefill(const Request& request) const {
    if (request.score) return 0;  // every position's logits are wanted
    const auto to_feed = static_cast<std::int32_t>(request.prompt.size()) - request.n_cached - 1;
    return to_feed > options_.in_kernel_prompt ? to_feed : 0;
}

void Submission::prefill(const RequestRun& run, std::int32_t n_tokens) {
    const auto work = [&] {
        std::span<const Token> rest(run.request.prompt);
        rest = rest.subspan(static_cast<std::size_t>(run.request.n_cached), static_cast<std::size_t>(n_tokens));
        std::int32_t first = run.request.n_cached;
        while (!rest.empty() && !run.cancelled() && !stopping_) {
            const auto piece = rest.first(std::min(rest.size(), static_cast<std::size_t>(options_.prefill_piece)));
            prefill_.run(piece, first);
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

ring::DecodeJob Submission::make_job(const RequestRun& run, std::int32_t n_cached) const {
    const Request& request = run.request;
    ring::DecodeJob job;
    job.id = run.id;
    job.n_prompt = static_cast<std::int32_t>(request.prompt.size());
    job.n_cached = n_cached;
    job.max_new_tokens = request.max_new_tokens;
    if (request.ignore_eos) job.flags |= ring::kJobIgnoreEos;
    if (request.score) job.flags |= ring::kJobScore;
    if (request.emit_logits) job.flags |= ring::kJobEmitLogits;
    job.sampling = request.sampling;
    job.n_alternatives = request.top_logprobs;
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

// A slot is ours when the kernel has consumed it, and its cancel word when nobody can cancel its job any more.
bool Submission::job_ring_has_room() const {
    const std::uint32_t consumed = ring::load_acquire(&memory_.status->jobs_consumed);
    return completions_.outstanding() < args_.job_capacity && jobs_.next() - consumed < args_.job_capacity;
}

bool Submission::kernel_has_no_job() const {
    return completions_.outstanding() == 0 && ring::load_acquire(&memory_.status->jobs_consumed) == jobs_.next();
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
