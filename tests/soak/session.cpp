#include "tests/soak/session.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>

namespace vigil::soak {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kJobCapacity = 4;
constexpr std::chrono::seconds kSilence{60};
constexpr std::chrono::seconds kIdlePark{60};
constexpr std::chrono::microseconds kNap{50};

std::uint64_t nanoseconds(std::chrono::nanoseconds time) {
    return static_cast<std::uint64_t>(time.count());
}

}  // namespace

template <class T>
T* Session::pinned(std::size_t count) {
    pinned_.push_back(device_.allocate_pinned(count * sizeof(T)));
    return static_cast<T*>(pinned_.back());
}

Session::Session(const gguf::File& file, host::Device& device, const Options& options)
    : device_(device),
      model_(file, device, options.max_seq_len),
      workspace_(device, model_.config(), device.plan(model_.config())) {
    args_.weights = model_.weights();
    workspace_.fill(args_);
    args_.job_capacity = kJobCapacity;
    args_.event_capacity = options.event_capacity;
    args_.job_slots = jobs_ = pinned<ring::JobSlot>(kJobCapacity);
    args_.job_tokens = job_tokens_ =
        pinned<std::int32_t>(kJobCapacity * static_cast<std::size_t>(args_.config.max_seq_len));
    args_.job_cancel = pinned<std::uint64_t>(kJobCapacity);
    args_.event_slots = pinned<ring::EventSlot>(options.event_capacity);
    args_.control = control_ = pinned<ring::HostControl>(1);
    args_.status = pinned<ring::KernelStatus>(1);
    args_.faults = pinned<ring::BlockFault>(static_cast<std::size_t>(args_.plan.n_blocks));
    args_.idle_park_ns = nanoseconds(kIdlePark);
    args_.lease_ns = nanoseconds(options.lease);
    args_.deadline_ns = nanoseconds(options.deadline);
    device.flush_uploads();
}

Session::~Session() {
    ring::store_release(&control_->command, static_cast<std::uint32_t>(ring::Command::kStop));
    device_.wait_parked(kSilence);
    for (void* memory : pinned_) device_.release_pinned(memory);
}

void Session::submit(std::span<const std::int32_t> prompt, int max_new_tokens) {
    ring::DecodeJob job;
    job.id = n_jobs_ + 1;
    job.n_prompt = static_cast<std::int32_t>(prompt.size());
    job.max_new_tokens = max_new_tokens;
    job.flags = ring::kJobIgnoreEos;
    job.sampling.temperature = 0.0f;
    const std::uint32_t slot = n_jobs_ % kJobCapacity;
    std::ranges::copy(prompt, job_tokens_ + static_cast<std::size_t>(slot) * args_.config.max_seq_len);
    ring::encode(&jobs_[slot], job, ++n_jobs_);
}

void Session::launch() {
    ring::store_release(&control_->command, static_cast<std::uint32_t>(ring::Command::kRun));
    device_.launch_resident(args_);
}

void Session::park() {
    ring::store_release(&control_->command, static_cast<std::uint32_t>(ring::Command::kPark));
    if (!device_.wait_parked(kSilence)) throw std::runtime_error("the kernel did not park");
}

bool Session::take(ring::TokenEvent& event) {
    if (!ring::decode(&args_.event_slots[n_events_ % args_.event_capacity], &event, n_events_ + 1)) return false;
    ring::store_release(&control_->events_consumed, ++n_events_);  // pairs with the kernel's look for room
    return true;
}

std::vector<std::int32_t> Session::finish(const std::function<void(ring::Fault)>& on_left) {
    std::vector<std::int32_t> tokens;
    auto last_event = Clock::now();
    for (;;) {
        ring::store_release(&control_->lease, control_->lease + 1);
        // Asked before the ring is read: what a kernel wrote that has left is all there.
        const bool left = !device_.resident();
        ring::TokenEvent event;
        bool any = false;
        while (take(event)) {
            if (event.kind == ring::EventKind::kFinished) return tokens;
            tokens.push_back(event.token);
            any = true;
        }
        if (any) last_event = Clock::now();
        if (left) {
            if (on_left) on_left(fault());
            launch();
        } else if (Clock::now() > last_event + kSilence) {
            throw std::runtime_error("the kernel fell silent after " + std::to_string(tokens.size()) + " tokens");
        }
        std::this_thread::sleep_for(kNap);
    }
}

ring::Fault Session::fault() const {
    return static_cast<ring::Fault>(ring::load_acquire(&args_.status->fault));
}

std::uint32_t Session::unread_events() const {
    ring::TokenEvent ignored;
    std::uint32_t n = 0;
    while (n < args_.event_capacity &&
           ring::decode(&args_.event_slots[(n_events_ + n) % args_.event_capacity], &ignored, n_events_ + n + 1))
        ++n;
    return n;
}

}  // namespace vigil::soak
