// One producer and one consumer in one thread, so that every state of the ring can be set up exactly.
#include "ringbuf/ring.h"

#include <array>
#include <cstdint>
#include <doctest/doctest.h>
#include <vector>

using namespace vigil::ring;

namespace {

constexpr std::uint32_t kCapacity = 8;

TokenEvent event(std::uint32_t n) {
    TokenEvent e;
    e.token = static_cast<std::int32_t>(n);
    e.time_ns = n;
    return e;
}

DecodeJob job(std::uint64_t id) {
    DecodeJob j;
    j.id = id;
    return j;
}

// Both ends of an event ring whose indices begin at `start`, as after that many events.
struct EventRing {
    explicit EventRing(std::uint32_t start = 0)
        : consumed(start),
          producer(slots.data(), kCapacity, &consumed, start, start),
          consumer(slots.data(), kCapacity, start) {}
    void publish() { store_release(&consumed, consumer.next()); }

    std::array<EventSlot, kCapacity> slots{};
    std::uint32_t consumed;
    EventProducer producer;
    EventConsumer consumer;
};

}  // namespace

TEST_CASE("an empty ring gives nothing, however often it is asked") {
    EventRing ring;
    TokenEvent out;
    for (int i = 0; i < 100; ++i) CHECK_FALSE(ring.consumer.try_pop(&out));
    CHECK(ring.consumer.next() == 0);
}

TEST_CASE("a full ring takes nothing and loses nothing") {
    EventRing ring;
    for (std::uint32_t n = 0; n < kCapacity; ++n) REQUIRE(ring.producer.try_push(event(n)));
    for (int i = 0; i < 100; ++i) CHECK_FALSE(ring.producer.try_push(event(99)));
    CHECK(ring.producer.next() == kCapacity);
    TokenEvent out;
    for (std::uint32_t n = 0; n < kCapacity; ++n) {
        REQUIRE(ring.consumer.try_pop(&out));
        CHECK(out.token == static_cast<std::int32_t>(n));
    }
    CHECK_FALSE(ring.consumer.try_pop(&out));
}

TEST_CASE("slots become free when the consumer's index is published, not when they are read") {
    EventRing ring;
    for (std::uint32_t n = 0; n < kCapacity; ++n) REQUIRE(ring.producer.try_push(event(n)));
    TokenEvent out;
    REQUIRE(ring.consumer.try_pop(&out));
    REQUIRE(ring.consumer.try_pop(&out));
    CHECK_FALSE(ring.producer.try_push(event(8)));
    ring.publish();
    CHECK(ring.producer.try_push(event(8)));
    CHECK(ring.producer.try_push(event(9)));
    CHECK_FALSE(ring.producer.try_push(event(10)));
}

TEST_CASE("messages keep their order over many laps, with every number of them in flight") {
    for (std::uint32_t in_flight = 1; in_flight <= kCapacity; ++in_flight) {
        EventRing ring;
        std::uint32_t sent = 0;
        std::uint32_t received = 0;
        while (received < 20 * kCapacity) {
            while (sent - received < in_flight) REQUIRE(ring.producer.try_push(event(sent++)));
            TokenEvent out;
            REQUIRE(ring.consumer.try_pop(&out));
            CHECK(out.token == static_cast<std::int32_t>(received++));
            ring.publish();
        }
    }
}

TEST_CASE("the indices wrap at 2^32 in the middle of the traffic, empty, full and half full") {
    for (std::uint32_t before = 0; before <= 2 * kCapacity; ++before) {
        CAPTURE(before);
        EventRing ring(0u - before);
        TokenEvent out;
        for (std::uint32_t lap = 0; lap < 4; ++lap) {
            for (std::uint32_t n = 0; n < kCapacity; ++n) REQUIRE(ring.producer.try_push(event(lap * kCapacity + n)));
            CHECK_FALSE(ring.producer.try_push(event(0)));
            for (std::uint32_t n = 0; n < kCapacity; ++n) {
                REQUIRE(ring.consumer.try_pop(&out));
                CHECK(out.token == static_cast<std::int32_t>(lap * kCapacity + n));
            }
            CHECK_FALSE(ring.consumer.try_pop(&out));
            ring.publish();
        }
    }
}

TEST_CASE("a slot that still holds the event of 2^16 sequence numbers ago is not believed") {
    // Word 3 alone could not tell them apart: it has room for 16 bits.
    EventRing ring(0x10000);
    encode(&ring.slots[0], event(1), 1);
    TokenEvent out;
    CHECK_FALSE(ring.consumer.try_pop(&out));
    REQUIRE(ring.producer.try_push(event(2)));
    REQUIRE(ring.consumer.try_pop(&out));
    CHECK(out.token == 2);
}

TEST_CASE("a producer that stops in the middle of an event leaves the consumer waiting, and can go on") {
    EventRing ring;
    EventSlot whole;
    encode(&whole, event(42), 1);
    TokenEvent out;
    for (std::size_t word = 0; word < 4; ++word) {
        CHECK_FALSE(ring.consumer.try_pop(&out));
        ring.slots[0].words[word] = whole.words[word];
    }
    REQUIRE(ring.consumer.try_pop(&out));
    CHECK(out.token == 42);
}

TEST_CASE("a producer that starts again from its stored indices goes on where it stopped") {
    // What the kernel does when it parks and comes back: DecodeState keeps next_event and events_consumed.
    EventRing ring;
    std::uint32_t received = 0;
    std::uint32_t next = 0;
    std::uint32_t cache = 0;
    for (std::uint32_t launch = 0; launch < 100; ++launch) {
        EventProducer producer(ring.slots.data(), kCapacity, &ring.consumed, next, cache);
        for (std::uint32_t n = 0; n < launch % kCapacity; ++n) REQUIRE(producer.try_push(event(next + n)));
        next = producer.next();
        cache = producer.consumed_cache();
        TokenEvent out;
        while (ring.consumer.try_pop(&out)) CHECK(out.token == static_cast<std::int32_t>(received++));
        ring.publish();
    }
    CHECK(received == next);
}

TEST_CASE("a consumer that stops is felt as back-pressure and nothing is lost when it comes back") {
    EventRing ring;
    std::uint32_t sent = 0;
    while (ring.producer.try_push(event(sent))) ++sent;
    CHECK(sent == kCapacity);
    EventConsumer again(ring.slots.data(), kCapacity, 0);
    TokenEvent out;
    for (std::uint32_t n = 0; n < sent; ++n) {
        REQUIRE(again.try_pop(&out));
        CHECK(out.token == static_cast<std::int32_t>(n));
    }
}

TEST_CASE("a cancel word reaches the job it names at any moment, and no other") {
    // The kernel compares the slot's cancel word with the id of the job it decodes; ids are never reused.
    std::array<JobSlot, kCapacity> slots{};
    std::array<std::uint64_t, kCapacity> cancel{};
    std::uint32_t consumed = 0;
    JobProducer producer(slots.data(), kCapacity, &consumed, 0, 0);
    JobConsumer consumer(slots.data(), kCapacity, 0);
    constexpr std::uint64_t kJobs = 5 * kCapacity;
    // Cancelled before it is pushed, after it is pushed, after it is popped, and after it is done.
    for (int moment = 0; moment < 4; ++moment) {
        for (std::uint64_t n = 0; n < kJobs; ++n) {
            const std::uint64_t id = 1 + static_cast<std::uint64_t>(moment) * kJobs + n;
            std::uint64_t& word = cancel[producer.next() & (kCapacity - 1)];
            const bool wanted = n % 3 == 0;
            const auto cancel_at = [&](int now) {
                if (wanted && moment == now) store_relaxed(&word, id);
            };
            cancel_at(0);
            REQUIRE(producer.try_push(job(id)));
            cancel_at(1);
            DecodeJob out;
            REQUIRE(consumer.try_pop(&out));
            cancel_at(2);
            const bool cancelled = load_relaxed(&word) == out.id;
            CHECK(out.id == id);
            CHECK(cancelled == (wanted && moment < 3));
            store_release(&consumed, consumer.next());
            cancel_at(3);
        }
    }
}

TEST_CASE("a job ring that is full refuses until the kernel has taken one") {
    std::array<JobSlot, kCapacity> slots{};
    std::uint32_t consumed = 0;
    JobProducer producer(slots.data(), kCapacity, &consumed, 0, 0);
    JobConsumer consumer(slots.data(), kCapacity, 0);
    for (std::uint64_t id = 1; id <= kCapacity; ++id) REQUIRE(producer.try_push(job(id)));
    CHECK_FALSE(producer.try_push(job(99)));
    DecodeJob out;
    REQUIRE(consumer.try_pop(&out));
    CHECK(out.id == 1);
    store_release(&consumed, consumer.next());
    CHECK(producer.try_push(job(kCapacity + 1)));
    CHECK_FALSE(producer.try_push(job(99)));
}
