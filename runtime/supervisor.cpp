#include "runtime/supervisor.h"

#include <fmt/format.h>
#include <utility>

#include "runtime/fault_text.h"

namespace vigil {
namespace {

// How soon a kernel that parked itself just before a job arrived is seen.
constexpr std::chrono::milliseconds kWatchWithWork{1};

ring::KernelState state_of(const SharedMemory& memory) {
    // Pairs with the store_release at the end of the resident loop.
    return static_cast<ring::KernelState>(ring::load_acquire(&memory.status->state));
}

bool says_left(ring::KernelState state) {
    return state == ring::KernelState::kParked || state == ring::KernelState::kFaulted;
}

}  // namespace

Supervisor::Supervisor(host::Device& device, const device::KernelArgs& args, SharedMemory& memory, Options options)
    : device_(device), args_(args), memory_(memory), options_(std::move(options)), thread_([this] { watch(); }) {}

Supervisor::~Supervisor() {
    stop();
}

std::string Supervisor::lost_reason() const {
    const std::lock_guard lock(mutex_);
    return lost_reason_;
}

void Supervisor::ensure_resident() {
    {
        // Whoever has the mutex may park the kernel with it, which takes a token's time: the thread looks after that.
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (lock) tick();
    }
    bell_.open();  // from now on the thread looks more often
}

void Supervisor::with_parked(const std::function<void()>& work) {
    const std::lock_guard lock(mutex_);
    guarded([this] { park(); });
    if (is_lost_) throw host::DeviceError(lost_reason_);
    work();
}

void Supervisor::hold() {
    held_ = true;
    const std::lock_guard lock(mutex_);
    guarded([this] { park(); });
    if (is_lost_) throw host::DeviceError(lost_reason_);
}

void Supervisor::release() {
    if (held_.exchange(false)) bell_.open();
}

void Supervisor::resume() {
    held_ = false;
    const std::lock_guard lock(mutex_);
    guarded([this] {
        look_after_leaving();
        if (!launched_) launch();
    });
    bell_.open();
}

bool Supervisor::stop() {
    if (thread_.joinable()) {
        stopping_ = true;
        bell_.open();
        thread_.join();
    }
    const std::lock_guard lock(mutex_);
    if (launched_) {
        ring::store_release(&memory_.control->command, static_cast<std::uint32_t>(ring::Command::kStop));
        try {
            // A kernel that did not leave when it was told to before is not waited for again.
            launched_ = !device_.wait_parked(is_lost_ ? std::chrono::milliseconds(0) : options_.patience);
            if (launched_) is_lost_ = true;
        } catch (const host::DeviceError&) {
            launched_ = false;  // it ended, if badly; there is nobody left to tell
        }
    }
    return !launched_;
}

void Supervisor::watch() {
    while (!stopping_) {
        const std::uint32_t seen = bell_.value();
        {
            const std::lock_guard lock(mutex_);
            tick();
        }
        bell_.await_for(seen, options_.has_work() && !held_ ? std::min(kWatchWithWork, options_.lease_interval)
                                                            : options_.lease_interval);
    }
}

void Supervisor::tick() {
    if (stopping_) return;
    guarded([this] {
        const auto now = Clock::now();
        const bool lease_due = now - last_lease_ >= options_.lease_interval;
        if (lease_due && launched_) {
            last_lease_ = now;
            ring::store_release(&memory_.control->lease, memory_.control->lease + 1);
        }
        // The status word costs nothing to read; asking the driver does, and is for a kernel that can't say any more.
        if (launched_ && (lease_due || says_left(state_of(memory_)))) look_after_leaving();
        if (launched_) look_for_silence();
        if (!launched_ && !held_ && options_.has_work()) launch();
    });
}

// An error of the device is the end of this engine's kernel.
void Supervisor::guarded(const std::function<void()>& work) {
    if (is_lost_) return;
    try {
        work();
    } catch (const host::DeviceError& e) {
        give_up(e.what());
    }
}

void Supervisor::launch() {
    if (wants_room_) {
        const std::uint32_t consumed = ring::load_acquire(&memory_.control->events_consumed);
        if (static_cast<std::int32_t>(consumed - room_from_event_) < 0) return;
        wants_room_ = false;
    }
    ring::store_release(&memory_.control->command, static_cast<std::uint32_t>(ring::Command::kRun));
    ring::store_relaxed(&memory_.status->state, static_cast<std::uint32_t>(ring::KernelState::kIdle));
    device_.launch_resident(args_);
    launched_ = true;
    ++launches_;
    last_sign_of_life_ = Clock::now();
}

void Supervisor::park() {
    if (!launched_) return;
    ring::store_release(&memory_.control->command, static_cast<std::uint32_t>(ring::Command::kPark));
    if (!device_.wait_parked(options_.patience)) {
        give_up(fmt::format("the kernel did not park within {} ms: {}", options_.patience.count(),
                            describe_fault(ring::Fault::kNone, memory_.faults)));
        return;
    }
    look_after_leaving();
}

// If the kernel has left: whether it may come back as it is.
void Supervisor::look_after_leaving() {
    if (!launched_) return;
    const ring::KernelState state = state_of(memory_);
    if (says_left(state) ? !device_.wait_parked(options_.patience) : device_.resident()) {
        if (says_left(state))
            give_up(fmt::format("the kernel said that it leaves, but was resident {} ms later: {}",
                                options_.patience.count(), describe_fault(ring::Fault::kNone, memory_.faults)));
        return;
    }
    launched_ = false;
    const auto fault = static_cast<ring::Fault>(ring::load_acquire(&memory_.status->fault));
    if (any_block_fault(memory_.faults) || fault == ring::Fault::kDeadline || !says_left(state_of(memory_))) {
        options_.on_fault(describe_fault(fault, memory_.faults));
        for (ring::BlockFault& block : memory_.faults) block = {};
        ring::store_relaxed(&memory_.status->fault, 0u);
        return;
    }
    if (fault == ring::Fault::kEventRingFull) {
        device::DecodeState decode;
        device_.download(&decode, args_.state, sizeof decode);
        wants_room_ = true;
        // One token's events: itself, its alternatives and the end of the job.
        room_from_event_ =
            decode.next_event + 2 + static_cast<std::uint32_t>(decode.job.n_alternatives) - args_.event_capacity;
    }
}

void Supervisor::look_for_silence() {
    const std::uint64_t sign = static_cast<std::uint64_t>(ring::load_relaxed(&memory_.status->launches)) << 32 |
                               ring::load_relaxed(&memory_.status->tokens);
    const auto now = Clock::now();
    if (sign != sign_of_life_ || !options_.has_work()) {
        sign_of_life_ = sign;
        last_sign_of_life_ = now;
    } else if (now - last_sign_of_life_ > options_.patience) {
        give_up(fmt::format("the kernel fed no token for {} ms: {}", options_.patience.count(),
                            describe_fault(ring::Fault::kNone, memory_.faults)));
    }
}

void Supervisor::give_up(const std::string& error) {
    lost_reason_ = error;
    is_lost_ = true;
    options_.on_lost(error);
}

}  // namespace vigil
