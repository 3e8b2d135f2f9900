#include "bench/latency/rig.h"

#include <algorithm>
#include <random>
#include <string>
#include <thread>

#include "bench/latency/random_data.h"

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

}  // namespace

template <class T>
T* Rig::pinned(std::size_t count) {
    pinned_.push_back(device_.allocate_pinned(count * sizeof(T)));
    return static_cast<T*>(pinned_.back());
}

Rig::Rig(host::Device& device, const host::Model& model, int n_blocks)
    : device_(device), workspace_(device, model.config(), device.plan(model.config(), n_blocks)) {
    args_.weights = model.weights();
    workspace_.fill(args_);
    const auto max_seq_len = static_cast<std::size_t>(args_.config.max_seq_len);
    args_.job_capacity = kJobCapacity;
    args_.event_capacity = kEventCapacity;
    args_.job_slots = jobs_ = pinned<ring::JobSlot>(kJobCapacity);
    args_.job_tokens = job_tokens_ = pinned<std::int32_t>(kJobCapacity * max_seq_len);
    args_.job_cancel = pinned<std::uint64_t>(kJobCapacity);
    args_.event_slots = pinned<ring::EventSlot>(kEventCapacity);
    args_.control = control_ = pinned<ring::HostControl>(1);
    args_.status = pinned<ring::KernelStatus>(1);
    args_.faults = pinned<ring::BlockFault>(static_cast<std::size_t>(args_.plan.n_blocks));
    args_.idle_park_ns = kIdlePark;
    args_.lease_ns = kLease;
    args_.deadline_ns = kDeadline;

    upload_random(device, args_.kv.k, workspace_.kv_bytes() / 2, RandomBits::small_halves);
    upload_random(device, args_.kv.v, workspace_.kv_bytes() / 2, RandomBits::small_halves);
    std::mt19937 random(2);
    std::uniform_int_distribution<std::int32_t> any_token(0, args_.config.vocab_size - 1);
    prompt_.resize(max_seq_len);
    std::ranges::generate(prompt_, [&] { return any_token(random); });
}

Rig::~Rig() {
    try {
        stop();
    } catch (const host::DeviceError&) {
        // The device's destructor makes a kernel leave that does not hear; its memory stays until then.
    }
    for (void* memory : pinned_) device_.release_pinned(memory);
}

void Rig::start(host::Dispatch dispatch) {
    stop();
    dispatch_ = dispatch;
    if (dispatch != host::Dispatch::persistent) return;
    const std::uint32_t launches = ring::load_acquire(&args_.status->launches);
    ring::store_release(&control_->command, static_cast<std::uint32_t>(ring::Command::kRun));
    device_.launch_resident(args_);
    const auto begin = Clock::now();
    while (ring::load_acquire(&args_.status->launches) == launches ||
           ring::load_acquire(&args_.status->state) != static_cast<std::uint32_t>(ring::KernelState::kIdle))
        keep_alive(begin);
}

void Rig::stop() {
    device_.synchronize();
    if (!device_.resident()) return;
    ring::store_release(&control_->command, static_cast<std::uint32_t>(ring::Command::kPark));
    if (!device_.wait_parked(kSilence)) throw host::DeviceError("the kernel did not park");
}

void Rig::keep_alive(Clock::time_point last_event) {
    ring::store_release(&control_->lease, control_->lease + 1);
    if (Clock::now() < last_event + kSilence) return;
    throw host::DeviceError("no event for " + std::to_string(kSilence.count()) + " s: kernel state " +
                            std::to_string(ring::load_acquire(&args_.status->state)) + ", fault " +
                            std::to_string(ring::load_acquire(&args_.status->fault)));
}

bool Rig::take_event(ring::TokenEvent& event) {
    if (!ring::decode(&args_.event_slots[n_events_ % kEventCapacity], &event, n_events_ + 1)) return false;
    ring::store_release(&control_->events_consumed, ++n_events_);  // pairs with the kernel's look for room
    return true;
}

void Rig::enqueue_tokens(std::size_t wanted, std::size_t n_seen, std::size_t& n_enqueued) {
    while (n_enqueued < std::min(wanted, n_seen + kEnqueuedAhead)) {
        device_.run_token(args_, dispatch_);
        ++n_enqueued;
    }
}

void Rig::submit(const JobSpec& spec) {
    ring::DecodeJob job;
    job.id = next_id_++;
    job.n_prompt = spec.n_cached + 1;
    job.n_cached = spec.n_cached;
    job.max_new_tokens = spec.max_new_tokens;
    job.flags = ring::kJobIgnoreEos;
    job.sampling = spec.sampling;
    const std::uint32_t slot = n_jobs_ % kJobCapacity;
    std::copy_n(prompt_.begin(), job.n_prompt,
                job_tokens_ + static_cast<std::size_t>(slot) * static_cast<std::size_t>(args_.config.max_seq_len));
    ring::encode(&jobs_[slot], job, ++n_jobs_);
}

void Rig::hold(const JobSpec& spec) {
    constexpr std::int32_t kDirectiveStep = 0;
    submit(spec);
    device_.run_step(args_, kDirectiveStep);
    device_.synchronize();
}

JobTrace Rig::run(const JobSpec& spec) {
    constexpr std::uint32_t kLooksBetweenClocks = 1024;
    JobTrace trace;
    trace.tokens.reserve(static_cast<std::size_t>(spec.max_new_tokens));
    trace.token_times.reserve(static_cast<std::size_t>(spec.max_new_tokens));
    const bool resident = dispatch_ == host::Dispatch::persistent;
    const bool shares_cores = !device_.info().is_cuda;  // with the kernel
    const auto wanted = static_cast<std::size_t>(std::max(1, spec.max_new_tokens));
    std::size_t n_enqueued = 0;
    bool any_event = false;

    const auto submitted = Clock::now();
    auto last_event = submitted;
    submit(spec);
    for (std::uint32_t looks = 1;; ++looks) {
        if (!resident) enqueue_tokens(wanted, trace.tokens.size(), n_enqueued);
        ring::TokenEvent event;
        if (!take_event(event)) {
            if (looks % kLooksBetweenClocks == 0) keep_alive(last_event);
            if (shares_cores) std::this_thread::yield();
            continue;
        }
        if (!any_event) {
            any_event = true;
            trace.first_event = Clock::now() - submitted;
        }
        if (event.kind == ring::EventKind::kFinished) {
            if (event.reason != ring::FinishReason::kLength)
                throw host::DeviceError("a job ended with reason " +
                                        std::to_string(static_cast<std::uint32_t>(event.reason)));
            return trace;
        }
        trace.tokens.push_back(event.token);
        trace.token_times.push_back(event.time_ns);
        looks = 0;
        last_event = Clock::now();
    }
}

}  // namespace vigil::bench
