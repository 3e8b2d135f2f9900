// A resident kernel whose host can be made to misbehave: the rings are in plain sight, and whether the lease is renewed
// and the events are read is up to the test.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "device/model.h"
#include "host/device.h"
#include "host/gguf/gguf.h"
#include "host/model.h"
#include "host/workspace.h"
#include "ringbuf/messages.h"

namespace vigil::soak {

class Session {
   public:
    struct Options {
        int max_seq_len = 1024;
        std::uint32_t event_capacity = 4096;
        std::chrono::milliseconds lease{60000};
        std::chrono::milliseconds deadline{60000};
    };

    Session(const gguf::File& file, host::Device& device, const Options& options);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Puts a greedy job over `prompt` into the ring that stop tokens do not end. The one before must have finished.
    void submit(std::span<const std::int32_t> prompt, int max_new_tokens);
    void launch();
    // Tells the kernel to leave, and waits. Throws std::runtime_error if it does not within the deadline.
    void park();
    // Waits for a kernel that leaves by itself, without a sign of life from the host; false if it has not by then.
    bool wait_until_left(std::chrono::milliseconds timeout) { return device_.wait_parked(timeout); }

    // Plays the good host to the job's end and returns its tokens, those of events that waited in the ring included.
    // A kernel that left is launched again; `on_left` hears of it first. Throws std::runtime_error if no event comes
    // for a minute.
    std::vector<std::int32_t> finish(const std::function<void(ring::Fault)>& on_left = {});

    ring::Fault fault() const;
    // Events in the ring that nobody has read.
    std::uint32_t unread_events() const;

   private:
    template <class T>
    T* pinned(std::size_t count);
    bool take(ring::TokenEvent& event);

    host::Device& device_;
    host::Model model_;
    host::Workspace workspace_;
    device::KernelArgs args_;
    std::vector<void*> pinned_;
    ring::JobSlot* jobs_ = nullptr;
    std::int32_t* job_tokens_ = nullptr;
    ring::HostControl* control_ = nullptr;
    std::uint32_t n_jobs_ = 0;
    std::uint32_t n_events_ = 0;
};

}  // namespace vigil::soak
