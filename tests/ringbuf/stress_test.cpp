// Many messages between two threads, every one checked against what its index says. The event ring wraps 2^32 midway.
// Under sanitizers the counts are smaller.
#include <doctest/doctest.h>
#include <sched.h>
#include <thread>

#include "tests/ringbuf/test_ring.h"

namespace vigil::ring {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint32_t kEvents = 1'000'000;
constexpr std::uint32_t kJobs = 100'000;
constexpr std::uint32_t kTurns = 20'000;
#else
constexpr std::uint32_t kEvents = 100'000'000;
constexpr std::uint32_t kJobs = 2'000'000;
constexpr std::uint32_t kTurns = 200'000;
#endif

// The two threads may have to share a core: give it away soon.
void wait_a_little(std::uint32_t& spins) {
    if (++spins < 64) {
        __builtin_ia32_pause();
    } else {
        sched_yield();
    }
}

// Moves `n` messages through `ring` and returns how many arrived changed. `release_every` is how many the consumer
// reads before it says so.
template <class Ring>
std::uint32_t count_wrong(Ring& ring, std::uint32_t n, std::uint32_t release_every) {
    using Message = typename Ring::Message;
    const std::uint32_t end = ring.begin + n;
    std::thread writer([&ring, end] {
        auto producer = ring.producer();
        for (std::uint32_t index = producer.next(); index != end; ++index) {
            const Message message = message_at<Message>(index);
            for (std::uint32_t spins = 0; !producer.try_push(message);) wait_a_little(spins);
        }
    });
    auto consumer = ring.consumer();
    std::uint32_t n_wrong = 0;
    for (std::uint32_t index = consumer.next(); index != end; ++index) {
        Message message;
        for (std::uint32_t spins = 0; !consumer.try_pop(&message);) wait_a_little(spins);
        n_wrong += same(message, message_at<Message>(index)) ? 0 : 1;
        if (consumer.next() % release_every == 0) store_release(&ring.consumed, consumer.next());
    }
    writer.join();
    return n_wrong;
}

TEST_CASE("events arrive whole and in order under stress") {
    EventRing ring(4096, 0u - kEvents / 2);
    CHECK(count_wrong(ring, kEvents, 256) == 0);
}

TEST_CASE("jobs arrive whole and in order under stress") {
    JobRing ring(16, 0u - kJobs / 2);
    CHECK(count_wrong(ring, kJobs, 4) == 0);
}

// One slot: full after each message and empty before it, so that every push and pop meets the other side's edge.
TEST_CASE_TEMPLATE("a ring of one slot hands over message by message", Ring, EventRing, JobRing) {
    Ring ring(1, 0u - kTurns / 2);
    CHECK(count_wrong(ring, kTurns, 1) == 0);
}

}  // namespace
}  // namespace vigil::ring
