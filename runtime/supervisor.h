// The resident kernel's life: launch, lease, park, resume, stop, and what to do when it left by itself.
//
//     parked ──launch──▶ resident ──told to, idle for long, host silent, event ring full──▶ parked
//                           └──a wait outlasts its deadline──▶ faulted ──jobs ended, state reset──▶ parked
//
// Every call to the Device about the kernel's life is made under one mutex, by whichever thread needs it: the
// one that submits launches and parks without a detour, the supervisor's own thread renews the lease and watches.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "host/cpu/block_pool.h"
#include "host/device.h"
#include "runtime/request_run.h"
#include "runtime/shared_memory.h"

namespace vigil {

class Supervisor {
   public:
    struct Options {
        std::chrono::milliseconds lease_interval{50};  // between renewals of the lease
        // How long the kernel may take to reach a token boundary, and how long it may be silent with a job: longer than
        // its own deadline, so that it can say itself what it waits for.
        std::chrono::milliseconds patience{8000};
        std::function<bool()> has_work;  // jobs are under way
        // The kernel left with a fault and is parked: ends the jobs and resets the kernel's state. Called with the
        // supervisor's mutex held, like on_lost: must not call back.
        std::function<void(const std::string& error)> on_fault;
        // The kernel is lost: ends the jobs. It may still be resident.
        std::function<void(const std::string& error)> on_lost;
    };

    // `device` and `memory` must outlive it. Nothing is launched yet.
    Supervisor(host::Device& device, const device::KernelArgs& args, SharedMemory& memory, Options options);
    ~Supervisor();

    // A job is in the ring: the kernel is resident, or comes back within about a millisecond if it is just leaving.
    void ensure_resident();
    // Parks the kernel, runs `work` and leaves the kernel parked. Throws DeviceError if it would not leave.
    void with_parked(const std::function<void()>& work);

    // The kernel leaves and stays away, even with a job under way, until release() or resume(). Throws as with_parked.
    void hold();
    void release();
    // Launches at once.
    void resume();
    // Makes the kernel leave for good and ends the thread. False if it is still resident after the patience.
    bool stop();

    // The kernel is lost for good: nothing can be run any more, for this reason.
    bool lost() const noexcept { return is_lost_; }
    std::string lost_reason() const;
    std::uint64_t launches() const noexcept { return launches_; }

   private:
    void watch();
    void tick();  // all below: with mutex_ held
    void guarded(const std::function<void()>& work);
    void launch();
    void park();
    void look_after_leaving();
    void look_for_silence();
    void give_up(const std::string& error);

    host::Device& device_;
    const device::KernelArgs args_;
    SharedMemory& memory_;
    const Options options_;
    host::Gate bell_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> held_{false};
    std::atomic<bool> is_lost_{false};
    std::atomic<std::uint64_t> launches_{0};

    mutable std::mutex mutex_;
    bool launched_ = false;              // and not yet seen to have left
    bool wants_room_ = false;            // the kernel left for want of room in the event ring,
    std::uint32_t room_from_event_ = 0;  // and has it once this many events are consumed
    Clock::time_point last_lease_;
    Clock::time_point last_sign_of_life_;
    std::uint64_t sign_of_life_ = 0;
    std::string lost_reason_;
    std::thread thread_;
};

}  // namespace vigil
