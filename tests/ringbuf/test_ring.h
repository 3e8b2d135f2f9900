// What the ring tests share: messages whose content follows from their index, and rings that begin at any index.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "ringbuf/ring.h"

namespace vigil::ring {

// Spreads an index over 64 bits (the finaliser of SplitMix64).
inline std::uint64_t mix(std::uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

// The event of `index`: any token, any bits of log-probability, NaN among them, any time.
inline TokenEvent event_at(std::uint32_t index) {
    const std::uint64_t a = mix(index + 1ull);
    const std::uint64_t b = mix(a);
    TokenEvent e;
    e.kind = static_cast<EventKind>(1 + index % 3);
    e.reason = static_cast<FinishReason>(index % 5);
    e.job = static_cast<std::uint16_t>(a >> 48);
    e.token = static_cast<std::int32_t>(static_cast<std::uint32_t>(a));
    e.logprob = bits_float(static_cast<std::uint32_t>(b));
    e.time_ns = b >> 16;
    return e;
}

// Bit for bit, since NaN differs from itself.
inline bool same(const TokenEvent& a, const TokenEvent& b) {
    return a.kind == b.kind && a.reason == b.reason && a.job == b.job && a.token == b.token &&
           float_bits(a.logprob) == float_bits(b.logprob) && a.time_ns == b.time_ns;
}

// The job of `index`: every field has any bits.
inline DecodeJob job_at(std::uint32_t index) {
    std::uint64_t words[sizeof(DecodeJob) / 8];
    std::uint64_t x = mix(index + 1ull);
    for (std::uint64_t& word : words) word = x = mix(x + 1);
    DecodeJob job;
    std::memcpy(&job, words, sizeof job);
    return job;
}

inline bool same(const DecodeJob& a, const DecodeJob& b) {
    std::array<std::uint64_t, kJobWords> words[2];  // which its fields fill: there is no padding
    std::memcpy(words[0].data(), &a, sizeof a);
    std::memcpy(words[1].data(), &b, sizeof b);
    return words[0] == words[1];
}

template <class Message>
Message message_at(std::uint32_t index);
template <>
inline TokenEvent message_at<TokenEvent>(std::uint32_t index) {
    return event_at(index);
}
template <>
inline DecodeJob message_at<DecodeJob>(std::uint32_t index) {
    return job_at(index);
}

// The memory of a ring whose both ends stand at `start`. A ring that begins at 0 is new; any other holds the lap
// before `start` in its slots, as it does after running that far.
template <class SlotT, class MessageT>
struct TestRing {
    using Slot = SlotT;
    using Message = MessageT;

    TestRing(std::uint32_t capacity, std::uint32_t start) : slots(capacity), begin(start), consumed(start) {
        if (start == 0) return;
        for (std::uint32_t index = start - capacity; index != start; ++index)
            encode(&slots[index & (capacity - 1)], message_at<Message>(index), index + 1);
    }

    std::uint32_t capacity() const { return static_cast<std::uint32_t>(slots.size()); }
    Producer<Slot, Message> producer() { return {slots.data(), capacity(), &consumed, begin, begin}; }
    Consumer<Slot, Message> consumer() const { return {slots.data(), capacity(), begin}; }

    std::vector<Slot> slots;
    std::uint32_t begin;
    alignas(128) std::uint32_t consumed;  // writer: the consumer's side
};

using EventRing = TestRing<EventSlot, TokenEvent>;
using JobRing = TestRing<JobSlot, DecodeJob>;

}  // namespace vigil::ring
