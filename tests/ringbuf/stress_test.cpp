// Two threads and one ring, for long: nothing is lost, repeated, torn or out of order.
// The number of messages is set by the build (10^8, fewer under a sanitizer).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <doctest/doctest.h>
#include <memory>
#include <random>
#include <sched.h>
#include <thread>
#include <vector>

#include "ringbuf/ring.h"

using namespace vigil::ring;

namespace {

constexpr std::uint64_t kMessages = VIGIL_STRESS_MESSAGES;
constexpr std::chrono::seconds kPatience{120};

// Fields that follow from the index, each in another way, so that a torn message shows.
TokenEvent event(std::uint32_t n) {
    TokenEvent e;
    e.token = static_cast<std::int32_t>(n);
    e.logprob = bits_float(n * 2654435761u);
    e.job = static_cast<std::uint16_t>(n ^ n >> 16);
    e.time_ns = (std::uint64_t{n} << 16 | (n & 0xffffu)) & kTimeMask;
    return e;
}

bool is_event(const TokenEvent& e, std::uint32_t n) {
    const TokenEvent want = event(n);
    return e.token == want.token && float_bits(e.logprob) == float_bits(want.logprob) && e.job == want.job &&
           e.time_ns == want.time_ns && e.kind == want.kind && e.reason == want.reason;
}

// Gives the core away after a while: with other work on the machine the peer may need it.
void wait_a_little(std::uint32_t& spins) {
    if (++spins % 256 == 0) sched_yield();
}

struct Outcome {
    std::uint64_t received = 0;
    std::uint64_t wrong = 0;
    bool in_time = true;
};

// Sends `count` events through a ring of `capacity` slots. `batch`: how many the consumer reads per published index.
Outcome send_events(std::uint32_t capacity, std::uint64_t count, std::uint32_t batch, std::uint32_t start) {
    const auto slots = std::make_unique<EventSlot[]>(capacity);
    std::uint32_t consumed = start;
    std::atomic<bool> give_up{false};
    std::thread producer([&] {
        EventProducer out(slots.get(), capacity, &consumed, start, start);
        std::uint32_t spins = 0;
        for (std::uint64_t sent = 0; sent < count;) {
            if (out.try_push(event(out.next())))
                ++sent;
            else if (give_up.load(std::memory_order_relaxed))
                return;
            else
                wait_a_little(spins);
        }
    });
    Outcome outcome;
    EventConsumer in(slots.get(), capacity, start);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    std::uint32_t spins = 0;
    TokenEvent e;
    while (outcome.received < count) {
        const std::uint32_t index = in.next();
        if (in.try_pop(&e)) {
            if (!is_event(e, index)) ++outcome.wrong;
            if (++outcome.received % batch == 0) store_release(&consumed, in.next());
            continue;
        }
        store_release(&consumed, in.next());
        wait_a_little(spins);
        if (spins % 65536 == 0 && std::chrono::steady_clock::now() > deadline) {
            outcome.in_time = false;
            break;
        }
    }
    give_up = true;
    producer.join();
    return outcome;
}

void check(const Outcome& outcome, std::uint64_t count) {
    CHECK(outcome.in_time);
    CHECK(outcome.received == count);
    CHECK(outcome.wrong == 0);
}

}  // namespace

TEST_CASE("10^8 events pass between two threads whole and in order") {
    check(send_events(4096, kMessages, 64, 0), kMessages);
}

TEST_CASE("events pass whole and in order through rings of any size, and where the index wraps") {
    const std::uint64_t count = std::max<std::uint64_t>(kMessages / 1000, 10000);
    for (const std::uint32_t capacity : {2u, 4u, 32u, 1024u})
        for (const std::uint32_t batch : {1u, 2u})
            check(send_events(capacity, count, batch, 0u - static_cast<std::uint32_t>(count / 2)), count);
}

TEST_CASE("jobs pass whole while the consumer stops and goes on at random") {
    constexpr std::uint32_t capacity = 8;
    const std::uint64_t count = std::max<std::uint64_t>(kMessages / 500, 20000);
    std::vector<JobSlot> slots(capacity);
    std::uint32_t consumed = 0;
    std::atomic<bool> give_up{false};
    std::thread producer([&] {
        JobProducer out(slots.data(), capacity, &consumed, 0, 0);
        std::uint32_t spins = 0;
        for (std::uint64_t id = 1; id <= count;) {
            DecodeJob job;
            job.id = id;
            job.n_prompt = static_cast<std::int32_t>(id);
            job.sampling.seed = ~id;
            std::fill(std::begin(job.stop_tokens), std::end(job.stop_tokens), static_cast<std::int32_t>(id * 7));
            if (out.try_push(job))
                ++id;
            else if (give_up.load(std::memory_order_relaxed))
                return;
            else
                wait_a_little(spins);
        }
    });
    std::mt19937 random(1);
    JobConsumer in(slots.data(), capacity, 0);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    std::uint64_t received = 0;
    std::uint64_t wrong = 0;
    std::uint32_t spins = 0;
    while (received < count) {
        DecodeJob job;
        if (in.try_pop(&job)) {
            ++received;
            const bool right = job.id == received && job.n_prompt == static_cast<std::int32_t>(received) &&
                               job.sampling.seed == ~received &&
                               std::all_of(std::begin(job.stop_tokens), std::end(job.stop_tokens), [&](std::int32_t t) {
                                   return t == static_cast<std::int32_t>(received * 7);
                               });
            if (!right) ++wrong;
            if (random() % 1024 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 100));
            store_release(&consumed, in.next());
            continue;
        }
        wait_a_little(spins);
        if (spins % 65536 == 0 && std::chrono::steady_clock::now() > deadline) break;
    }
    give_up = true;
    producer.join();
    CHECK(received == count);
    CHECK(wrong == 0);
}

TEST_CASE("a cancel word written at a random moment is seen, and only by its job") {
    // Host and kernel play a job each: the kernel decodes until it sees its id in the slot's cancel word.
    constexpr std::uint32_t capacity = 4;
    const std::uint64_t count = std::max<std::uint64_t>(kMessages / 20000, 2000);
    std::vector<JobSlot> slots(capacity);
    std::vector<std::uint64_t> cancel(capacity, 0);
    std::uint32_t consumed = 0;
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<bool> give_up{false};
    std::thread kernel([&] {
        JobConsumer in(slots.data(), capacity, 0);
        std::uint32_t spins = 0;
        for (std::uint64_t done = 0; done < count && !give_up.load(std::memory_order_relaxed);) {
            DecodeJob job;
            const std::uint32_t slot = in.next() & (capacity - 1);
            if (!in.try_pop(&job)) {
                wait_a_little(spins);
                continue;
            }
            while (load_relaxed(&cancel[slot]) != job.id && !give_up.load(std::memory_order_relaxed))
                wait_a_little(spins);
            if (job.id != ++done) ++wrong;
            store_release(&consumed, in.next());
        }
    });
    JobProducer out(slots.data(), capacity, &consumed, 0, 0);
    std::mt19937 random(2);
    std::uint32_t spins = 0;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    bool in_time = true;
    for (std::uint64_t id = 1; id <= count && in_time; ++id) {
        const std::uint32_t slot = out.next() & (capacity - 1);
        DecodeJob job;
        job.id = id;
        while (!out.try_push(job) && in_time) {
            wait_a_little(spins);
            in_time = spins % 65536 != 0 || std::chrono::steady_clock::now() < deadline;
        }
        for (auto i = random() % 200; i > 0; --i) wait_a_little(spins);
        store_relaxed(&cancel[slot], id);
    }
    while (in_time && load_acquire(&consumed) != static_cast<std::uint32_t>(count)) {
        wait_a_little(spins);
        in_time = spins % 65536 != 0 || std::chrono::steady_clock::now() < deadline;
    }
    give_up = true;
    kernel.join();
    CHECK(in_time);
    CHECK(wrong == 0);
}
