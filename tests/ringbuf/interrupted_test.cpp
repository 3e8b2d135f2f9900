// A side of the ring stops midway: a producer between two words of a slot, a consumer between reading and saying so,
// and either is built anew from the indices it kept, as the kernel does when it parks and resumes.
#include <algorithm>
#include <array>
#include <chrono>
#include <doctest/doctest.h>
#include <thread>

#include "tests/ringbuf/test_ring.h"

namespace vigil::ring {
namespace {

constexpr std::uint32_t kStarts[] = {0, 0xffff - 2, 0u - 3};

TEST_CASE("an event left half written is passed by no reader, and is good once written again") {
    for (const std::uint32_t start : kStarts)
        for (std::size_t subset = 0; subset < 15; ++subset) {
            EventRing ring(4, start);
            auto producer = ring.producer();
            auto consumer = ring.consumer();
            REQUIRE(producer.try_push(event_at(start)));
            // The producer dies after some words of the second event.
            EventSlot whole;
            encode(&whole, event_at(start + 1), start + 2);
            EventSlot& slot = ring.slots[(start + 1) & 3];
            for (std::size_t i = 0; i < 4; ++i)
                if ((subset >> i & 1u) != 0) store_event_word(&slot.words[i], whole.words[i]);

            TokenEvent e;
            REQUIRE(consumer.try_pop(&e));
            for (int i = 0; i < 3; ++i) CHECK_FALSE(consumer.try_pop(&e));
            // Its successor decides the token again: the same token at a later time.
            TokenEvent again = event_at(start + 1);
            again.time_ns = (again.time_ns + 12345) & kTimeMask;
            REQUIRE(producer.try_push(again));
            REQUIRE(consumer.try_pop(&e));
            CHECK(same(e, again));
            CHECK_FALSE(consumer.try_pop(&e));
        }
}

TEST_CASE("a job left half written is passed by no reader, and is good once written again") {
    for (const std::uint32_t start : kStarts)
        for (std::size_t n_words = 0; n_words <= sizeof(DecodeJob) / 8; ++n_words) {
            JobRing ring(2, start);
            auto producer = ring.producer();
            auto consumer = ring.consumer();
            const DecodeJob abandoned = job_at(77);
            const DecodeJob* payload = &abandoned;
            JobSlot& slot = ring.slots[start & 1];
            for (std::size_t i = 0; i < n_words; ++i) {
                std::uint64_t word;
                std::memcpy(&word, reinterpret_cast<const char*>(payload) + 8 * i, 8);
                store_relaxed(reinterpret_cast<std::uint64_t*>(&slot.job) + i, word);
            }
            DecodeJob job;
            CHECK_FALSE(consumer.try_pop(&job));
            REQUIRE(producer.try_push(job_at(start)));
            REQUIRE(consumer.try_pop(&job));
            CHECK(same(job, job_at(start)));
        }
}

// The leader builds its end of a ring anew for each message, from the indices in device memory.
TEST_CASE_TEMPLATE("both ends may be built anew at any message", Ring, EventRing, JobRing) {
    using Message = typename Ring::Message;
    for (const std::uint32_t start : kStarts) {
        Ring ring(4, start);
        std::uint32_t next_in = start;
        std::uint32_t cache = start;
        std::uint32_t next_out = start;
        for (int round = 0; round < 20; ++round) {
            for (bool pushed = true; pushed;) {
                Producer<typename Ring::Slot, Message> producer(ring.slots.data(), 4, &ring.consumed, next_in, cache);
                pushed = producer.try_push(message_at<Message>(next_in));
                CHECK(producer.next() == next_in + (pushed ? 1 : 0));
                next_in = producer.next();
                cache = producer.consumed_cache();
            }
            CHECK(next_in == next_out + 4);
            const std::uint32_t stop_after = 1 + next_out % 4;
            for (std::uint32_t i = 0; i < stop_after; ++i) {
                Consumer<typename Ring::Slot, Message> consumer(ring.slots.data(), 4, next_out);
                Message message;
                REQUIRE(consumer.try_pop(&message));
                CHECK(same(message, message_at<Message>(next_out)));
                next_out = consumer.next();
            }
            store_release(&ring.consumed, next_out);
        }
    }
}

TEST_CASE_TEMPLATE("what was read but not released is there for the next reader", Ring, EventRing, JobRing) {
    using Message = typename Ring::Message;
    for (const std::uint32_t start : kStarts) {
        Ring ring(8, start);
        auto producer = ring.producer();
        for (std::uint32_t i = 0; i < 8; ++i) REQUIRE(producer.try_push(message_at<Message>(start + i)));
        Message message;
        {
            auto first = ring.consumer();
            for (int i = 0; i < 3; ++i) REQUIRE(first.try_pop(&message));
            store_release(&ring.consumed, first.next());
            for (int i = 0; i < 2; ++i) REQUIRE(first.try_pop(&message));
        }  // stops here: five read, three released
        for (std::uint32_t i = 8; i < 11; ++i) REQUIRE(producer.try_push(message_at<Message>(start + i)));
        CHECK_FALSE(producer.try_push(message_at<Message>(start + 11)));

        Consumer<typename Ring::Slot, Message> second(ring.slots.data(), 8, load_acquire(&ring.consumed));
        for (std::uint32_t i = 3; i < 11; ++i) {
            REQUIRE(second.try_pop(&message));
            CHECK(same(message, message_at<Message>(start + i)));
        }
        CHECK_FALSE(second.try_pop(&message));
    }
}

// The words of each event leave in an order of their own, with the producer off its core between them now and then.
TEST_CASE("a reader on another thread never sees an event that is half there") {
    constexpr std::uint32_t kEvents = 20000;
    constexpr std::uint32_t kCapacity = 4;
    const std::uint32_t start = 0u - kEvents / 2;
    EventRing ring(kCapacity, start);
    std::thread writer([&] {
        std::array<std::size_t, 4> order = {0, 1, 2, 3};
        for (std::uint32_t index = start; index != start + kEvents; ++index) {
            while (index - load_acquire(&ring.consumed) >= kCapacity) std::this_thread::yield();
            EventSlot whole;
            encode(&whole, event_at(index), index + 1);
            std::next_permutation(order.begin(), order.end());
            for (const std::size_t i : order) {
                store_event_word(&ring.slots[index & (kCapacity - 1)].words[i], whole.words[i]);
                if (mix(index * 4ull + i) % 16 == 0) std::this_thread::yield();
            }
        }
    });
    auto consumer = ring.consumer();
    std::uint32_t n_wrong = 0;
    for (std::uint32_t index = start; index != start + kEvents; ++index) {
        TokenEvent e;
        while (!consumer.try_pop(&e)) std::this_thread::yield();
        n_wrong += same(e, event_at(index)) ? 0 : 1;
        store_release(&ring.consumed, consumer.next());
    }
    writer.join();
    CHECK(n_wrong == 0);
}

TEST_CASE_TEMPLATE("a consumer that is away for a while finds everything in order", Ring, EventRing, JobRing) {
    using Message = typename Ring::Message;
    constexpr std::uint32_t kMessages = 5000;
    const std::uint32_t start = 0u - kMessages / 2;
    Ring ring(16, start);
    std::thread writer([&] {
        auto producer = ring.producer();
        while (producer.next() != start + kMessages)
            if (!producer.try_push(message_at<Message>(producer.next()))) std::this_thread::yield();
    });
    auto consumer = ring.consumer();
    std::uint32_t n_wrong = 0;
    while (consumer.next() != start + kMessages) {
        const std::uint32_t index = consumer.next();
        // Long enough for the producer to fill the ring and be refused.
        if (index % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        Message message;
        if (!consumer.try_pop(&message)) {
            std::this_thread::yield();
            continue;
        }
        n_wrong += same(message, message_at<Message>(index)) ? 0 : 1;
        if (index % 3 == 0 || consumer.next() - load_relaxed(&ring.consumed) >= 8)
            store_release(&ring.consumed, consumer.next());
    }
    writer.join();
    CHECK(n_wrong == 0);
}

}  // namespace
}  // namespace vigil::ring
