#include "runtime/bench/rig.h"

#include <algorithm>
#include <fmt/format.h>
#include <random>
#include <span>
#include <thread>

#include "runtime/bench/random_data.h"
#include "runtime/fault_text.h"
#include "runtime/in_kernel_prompt.h"

namespace vigil::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kJobCapacity = 4;
constexpr std::uint32_t kEventCapacity = 4096;
constexpr std::chrono::seconds kSilence{20};
constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
// The kernel leaves by itself if this program dies; none of these shows in a figure.
constexpr std::uint64_t kLease = 10 * kNanosecondsPerSecond;
constexpr std::uint64_t kDeadline = 10 * kNanosecondsPerSecond;
constexpr std::uint64_t kIdlePark = 60 * kNanosecondsPerSecond;
constexpr std::size_t kEnqueuedAhead = 2;  // the token that runs and the one after it

device::KernelArgs make_args(const host::Model& model, const host::Workspace& workspace) {
    device::KernelArgs args;
    args.weights = model.weights();
    workspace.fill(args);
    args.idle_park_ns = kIdlePark;
    args.lease_ns = kLease;
    args.deadline_ns = kDeadline;
    return args;
}

std::unique_ptr<host::Prefill> make_prefill(host::Device& device, const device::KernelArgs& args,
                                            const RigOptions& options) {
    if (!options.prefill) return nullptr;
    return host::make_prefill(device, args,
                              {.use_cublas = options.use_cublas,
                               .chunk = host::prefill_chunk(device, args.config),
                               .on_warning = options.on_warning});
}

}  // namespace

Rig::Rig(host::Device& device, const host::Model& model, const RigOptions& options)
    : device_(device),
      model_(model),
      interrupted_(options.interrupted),
      workspace_(device, model.config(), device.plan(model.config(), options.n_blocks)),
      args_(make_args(model, workspace_)),
      trace_(device, args_, options.trace),
      memory_(device, args_, {.job_capacity = kJobCapacity, .event_capacity = kEventCapacity, .logits_rows = 0}),
      prefill_(make_prefill(device, args_, options)) {
    upload_random(device, args_.kv.k, workspace_.kv_bytes() / 2, RandomBits::small_halves);
    upload_random(device, args_.kv.v, workspace_.kv_bytes() / 2, RandomBits::small_halves);
    std::mt19937 random(2);
    std::uniform_int_distribution<std::int32_t> any_token(0, args_.config.vocab_size - 1);
    prompt_.resize(static_cast<std::size_t>(args_.config.max_seq_len));
    std::ranges::generate(prompt_, [&] { return any_token(random); });
}

Rig::~Rig() {
    try {
        stop();
    } catch (const host::DeviceError&) {
        // The device's destructor makes a kernel leave that does not hear; its memory stays until then. cuBLAS would
        // wait for the kernel, for ever.
        static_cast<void>(prefill_.release());
    }
}

void Rig::start(host::Dispatch dispatch) {
    stop();
    trace_.clear();
    dispatch_ = dispatch;
    if (dispatch != host::Dispatch::persistent) return;
    const std::uint32_t launches = ring::load_acquire(&memory_.status->launches);
    launch();
    const auto begin = Clock::now();
    while (ring::load_acquire(&memory_.status->launches) == launches ||
           ring::load_acquire(&memory_.status->state) != static_cast<std::uint32_t>(ring::KernelState::kIdle))
        keep_alive(begin);
}

void Rig::launch() {
    ring::store_release(&memory_.control->command, static_cast<std::uint32_t>(ring::Command::kRun));
    device_.launch_resident(args_);
}

void Rig::stop() {
    device_.synchronize();
    if (!device_.resident()) return;
    ring::store_release(&memory_.control->command, static_cast<std::uint32_t>(ring::Command::kPark));
    if (!device_.wait_parked(kSilence)) throw host::DeviceError("the kernel did not park");
}

void Rig::keep_alive(Clock::time_point last_event) {
    ring::store_release(&memory_.control->lease, memory_.control->lease + 1);
    if (interrupted_ != nullptr && *interrupted_) throw Interrupted();
    if (Clock::now() < last_event + kSilence) return;
    const auto fault = static_cast<ring::Fault>(ring::load_acquire(&memory_.status->fault));
    throw host::DeviceError(fmt::format("no event for {} s: kernel state {}; {}", kSilence.count(),
                                        ring::load_acquire(&memory_.status->state),
                                        describe_fault(fault, memory_.faults)));
}

bool Rig::take_event(ring::TokenEvent& event) {
    if (!ring::decode(&memory_.event_slots[n_events_ % kEventCapacity], &event, n_events_ + 1)) return false;
    ring::store_release(&memory_.control->events_consumed, ++n_events_);  // pairs with the kernel's look for room
    return true;
}

void Rig::enqueue_tokens(std::size_t wanted, std::size_t n_seen, std::size_t& n_enqueued) {
    while (n_enqueued < std::min(wanted, n_seen + kEnqueuedAhead)) {
        device_.run_token(args_, dispatch_);
        ++n_enqueued;
    }
}

// The job's prompt is prompt_ up to the last of its own tokens; `n_cached` of them are in the cache.
void Rig::submit(const JobSpec& spec, std::int32_t n_cached) {
    ring::DecodeJob job;
    job.id = next_id_++;
    job.n_prompt = spec.n_cached + spec.n_prompt;
    job.n_cached = n_cached;
    job.first_token = prompt_[static_cast<std::size_t>(n_cached)];
    job.max_new_tokens = spec.max_new_tokens;
    job.flags = ring::kJobIgnoreEos;
    job.sampling = spec.sampling;
    const std::uint32_t slot = n_jobs_ % kJobCapacity;
    std::copy_n(prompt_.begin(), job.n_prompt,
                memory_.job_tokens.begin() + static_cast<std::ptrdiff_t>(slot) * args_.config.max_seq_len);
    ring::encode(&memory_.job_slots[slot], job, ++n_jobs_);
}

void Rig::hold(const JobSpec& spec) {
    constexpr std::int32_t kDirectiveStep = 0;
    submit(spec, spec.n_cached);
    device_.run_step(args_, kDirectiveStep);
    device_.synchronize();
}

void Rig::prefill(const JobSpec& spec, JobTimes& times) {
    const auto begin = Clock::now();
    const auto tokens = std::span(prompt_).subspan(static_cast<std::size_t>(spec.n_cached),
                                                   static_cast<std::size_t>(spec.n_prompt) - 1);
    prefill_->run(tokens, spec.n_cached);
    times.prefill = Clock::now() - begin;
}

JobTimes Rig::run(const JobSpec& spec) {
    JobTimes times;
    times.tokens.reserve(static_cast<std::size_t>(spec.max_new_tokens));
    times.token_times.reserve(static_cast<std::size_t>(spec.max_new_tokens));
    const bool prefilled = prefill_ && spec.n_prompt - 1 > in_kernel_prompt(device_.info(), model_.weight_bytes());
    const auto begin = Clock::now();
    if (prefilled) {
        stop();
        prefill(spec, times);
    }
    submit(spec, spec.n_cached + (prefilled ? spec.n_prompt - 1 : 0));
    times.written = Clock::now() - begin;
    if (prefilled && dispatch_ == host::Dispatch::persistent) launch();
    collect(spec, begin, times);
    return times;
}

void Rig::collect(const JobSpec& spec, Clock::time_point begin, JobTimes& times) {
    constexpr std::uint32_t kLooksBetweenClocks = 1024;
    const bool resident = dispatch_ == host::Dispatch::persistent;
    const bool shares_cores = !device_.info().is_cuda;  // with the kernel
    const auto wanted = static_cast<std::size_t>(std::max(1, spec.max_new_tokens));
    std::size_t n_enqueued = 0;
    bool any_event = false;
    auto last_event = begin;
    for (std::uint32_t looks = 1;; ++looks) {
        if (looks % kLooksBetweenClocks == 0) keep_alive(last_event);
        if (!resident) enqueue_tokens(wanted, times.tokens.size(), n_enqueued);
        ring::TokenEvent event;
        if (!take_event(event)) {
            if (shares_cores) std::this_thread::yield();
            continue;
        }
        last_event = Clock::now();
        if (!any_event) {
            any_event = true;
            times.first_event = last_event - begin;
            // Written by the kernel before the event.
            const std::uint64_t taken_ns = ring::load_relaxed(&memory_.status->job_taken_ns);
            times.on_device = std::chrono::nanoseconds((event.time_ns - taken_ns) & ring::kTimeMask);
        }
        if (event.kind == ring::EventKind::kFinished) {
            if (event.reason != ring::FinishReason::kLength)
                throw host::DeviceError(
                    fmt::format("a job ended with reason {}", static_cast<std::uint32_t>(event.reason)));
            return;
        }
        times.tokens.push_back(event.token);
        times.token_times.push_back(event.time_ns);
    }
}

}  // namespace vigil::bench
