// The pinned host memory that host and kernel share: both rings, the host's control words, the kernel's status.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/model.h"
#include "host/device.h"
#include "ringbuf/ring.h"

namespace vigil {

class SharedMemory {
   public:
    struct Sizes {
        std::uint32_t job_capacity = 8;       // jobs in the ring; a power of two
        std::uint32_t event_capacity = 4096;  // events in the ring; a power of two
        std::int32_t logits_rows = 0;
    };

    // Allocates on `device`, which must outlive it, while no kernel is resident. `args` names config and plan; the
    // pointers into this memory and its capacities are added to it.
    SharedMemory(host::Device& device, device::KernelArgs& args, const Sizes& sizes);
    ~SharedMemory();
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    // Host's words.
    std::span<ring::JobSlot> job_slots;   // [job_capacity]
    std::span<std::int32_t> job_tokens;   // [job_capacity][max_seq_len]
    std::span<std::uint64_t> job_cancel;  // [job_capacity]
    ring::HostControl* control = nullptr;
    // The kernel's words. The host writes them only while the kernel is parked.
    std::span<ring::EventSlot> event_slots;  // [event_capacity]
    ring::KernelStatus* status = nullptr;
    std::span<ring::BlockFault> faults;  // [n_blocks]
    std::span<float> logits;             // [logits_rows][vocab_size]

   private:
    template <class T>
    std::span<T> pinned(std::size_t count);

    host::Device& device_;
    std::vector<void*> allocations_;
};

}  // namespace vigil
