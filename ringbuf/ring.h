// A single-producer single-consumer ring over slots in shared memory.
//
// Indices run monotone (modulo 2^32) and are masked on use. A slot carries its own sequence number
// (index + 1), so the consumer needs no shared write index, and a torn or stale slot is never believed.
// The producer must not lap the consumer: it learns the consumer's index from a word the consumer writes,
// and reads that word only when its cached copy says the ring may be full.
//
// A new ring is zeroed and begins at index 0, whose sequence number 1 no zeroed slot has.
#pragma once

#include <type_traits>

#include "ringbuf/messages.h"

namespace vigil::ring {

// The capacities a ring of these slots can have. Who allocates one checks.
template <class Slot>
constexpr bool is_ring_capacity(std::uint32_t capacity) {
    const std::uint32_t most = std::is_same<Slot, EventSlot>::value ? kMaxEventCapacity : 1u << 31;
    return capacity != 0 && (capacity & (capacity - 1)) == 0 && capacity <= most;
}

// Index arithmetic is modulo 2^32; the difference of two live indices is at most the capacity.
template <class Slot, class Message>
class Producer {
   public:
    VIGIL_HD Producer(Slot* slots, std::uint32_t capacity, const std::uint32_t* consumed, std::uint32_t next,
                      std::uint32_t consumed_cache)
        : slots_(slots), capacity_(capacity), consumed_(consumed), next_(next), consumed_cache_(consumed_cache) {}

    // False if the ring is full; then nothing was written.
    VIGIL_HD bool try_push(const Message& message) {
        if (next_ - consumed_cache_ >= capacity_) {
            consumed_cache_ = load_acquire(consumed_);  // pairs with the store_release of the consumer's index
            if (next_ - consumed_cache_ >= capacity_) return false;
        }
        encode(&slots_[next_ & (capacity_ - 1)], message, next_ + 1);
        ++next_;
        return true;
    }

    VIGIL_HD std::uint32_t next() const { return next_; }
    VIGIL_HD std::uint32_t consumed_cache() const { return consumed_cache_; }

   private:
    Slot* slots_;
    std::uint32_t capacity_;  // a power of two
    const std::uint32_t* consumed_;
    std::uint32_t next_;
    std::uint32_t consumed_cache_;
};

template <class Slot, class Message>
class Consumer {
   public:
    VIGIL_HD Consumer(const Slot* slots, std::uint32_t capacity, std::uint32_t next)
        : slots_(slots), capacity_(capacity), next_(next) {}

    // False if the next message is not there yet. After true, publish next() to let the producer reuse the slot.
    VIGIL_HD bool try_pop(Message* message) {
        if (!decode(&slots_[next_ & (capacity_ - 1)], message, next_ + 1)) return false;
        ++next_;
        return true;
    }

    VIGIL_HD std::uint32_t next() const { return next_; }

   private:
    const Slot* slots_;
    std::uint32_t capacity_;
    std::uint32_t next_;
};

using JobProducer = Producer<JobSlot, DecodeJob>;
using JobConsumer = Consumer<JobSlot, DecodeJob>;
using EventProducer = Producer<EventSlot, TokenEvent>;
using EventConsumer = Consumer<EventSlot, TokenEvent>;

}  // namespace vigil::ring
