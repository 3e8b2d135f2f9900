#include "runtime/shared_memory.h"

#include <fmt/format.h>

namespace vigil {

template <class T>
std::span<T> SharedMemory::pinned(std::size_t count) {
    if (count == 0) return {};
    allocations_.push_back(device_.allocate_pinned(count * sizeof(T)));
    return {static_cast<T*>(allocations_.back()), count};
}

SharedMemory::SharedMemory(host::Device& device, device::KernelArgs& args, const Sizes& sizes) : device_(device) {
    if (!ring::is_ring_capacity<ring::JobSlot>(sizes.job_capacity) ||
        !ring::is_ring_capacity<ring::EventSlot>(sizes.event_capacity))
        throw host::DeviceError(
            fmt::format("rings of {} jobs and {} events: both must be powers of two, and at most {} "
                        "events",
                        sizes.job_capacity, sizes.event_capacity, ring::kMaxEventCapacity));
    job_slots = pinned<ring::JobSlot>(sizes.job_capacity);
    job_tokens = pinned<std::int32_t>(static_cast<std::size_t>(sizes.job_capacity) * args.config.max_seq_len);
    job_cancel = pinned<std::uint64_t>(sizes.job_capacity);
    event_slots = pinned<ring::EventSlot>(sizes.event_capacity);
    control = pinned<ring::HostControl>(1).data();
    status = pinned<ring::KernelStatus>(1).data();
    faults = pinned<ring::BlockFault>(static_cast<std::size_t>(args.plan.n_blocks));
    logits = pinned<float>(static_cast<std::size_t>(sizes.logits_rows) * args.config.vocab_size);

    args.job_slots = job_slots.data();
    args.job_tokens = job_tokens.data();
    args.job_cancel = job_cancel.data();
    args.event_slots = event_slots.data();
    args.control = control;
    args.status = status;
    args.faults = faults.data();
    args.logits_out = logits.empty() ? nullptr : logits.data();
    args.job_capacity = sizes.job_capacity;
    args.event_capacity = sizes.event_capacity;
    args.logits_out_rows = sizes.logits_rows;
}

SharedMemory::~SharedMemory() {
    for (void* memory : allocations_) device_.release_pinned(memory);
}

}  // namespace vigil
