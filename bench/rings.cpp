// What the rings cost on the host: the slot codecs, a message through a ring on one thread, and the round trip of a job
// and its answering event between two threads. On a GPU the round trip adds PCIe; this is the floor under it.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <sched.h>
#include <thread>
#include <vector>

#include "ringbuf/ring.h"

namespace vigil::ring {
namespace {

void encode_event(benchmark::State& state) {
    EventSlot slot;
    TokenEvent e;
    std::uint32_t sequence = 0;
    for (auto _ : state) {
        e.token = static_cast<std::int32_t>(++sequence);
        encode(&slot, e, sequence);
        benchmark::DoNotOptimize(slot);
    }
}
BENCHMARK(encode_event);

void decode_event(benchmark::State& state) {
    EventSlot slot;
    encode(&slot, TokenEvent{}, 1);
    TokenEvent e;
    for (auto _ : state) {
        benchmark::DoNotOptimize(decode(&slot, &e, 1));
        benchmark::DoNotOptimize(e);
    }
}
BENCHMARK(decode_event);

// The poll of a slot that holds nothing new: what waiting costs.
void poll_event(benchmark::State& state) {
    EventSlot slot;
    encode(&slot, TokenEvent{}, 1);
    TokenEvent e;
    for (auto _ : state) benchmark::DoNotOptimize(decode(&slot, &e, 2));
}
BENCHMARK(poll_event);

void encode_job(benchmark::State& state) {
    JobSlot slot;
    DecodeJob job;
    std::uint32_t sequence = 0;
    for (auto _ : state) {
        job.id = ++sequence;
        encode(&slot, job, sequence);
        benchmark::DoNotOptimize(slot);
    }
}
BENCHMARK(encode_job);

void decode_job(benchmark::State& state) {
    JobSlot slot;
    encode(&slot, DecodeJob{}, 1);
    DecodeJob job;
    for (auto _ : state) {
        benchmark::DoNotOptimize(decode(&slot, &job, 1));
        benchmark::DoNotOptimize(job);
    }
}
BENCHMARK(decode_job);

// One event in, the same event out, on one thread.
void push_and_pop_event(benchmark::State& state) {
    constexpr std::uint32_t kCapacity = 1024;
    std::vector<EventSlot> slots(kCapacity);
    std::uint32_t consumed = 0;
    EventProducer producer(slots.data(), kCapacity, &consumed, 0, 0);
    EventConsumer consumer(slots.data(), kCapacity, 0);
    TokenEvent e;
    for (auto _ : state) {
        benchmark::DoNotOptimize(producer.try_push(e));
        benchmark::DoNotOptimize(consumer.try_pop(&e));
        store_release(&consumed, consumer.next());
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(push_and_pop_event);

// Host thread → job ring → other thread → event ring → host thread, as a one-token request travels. Both spin, and give
// their core away when they have spun for long, so a machine with fewer free cores than two still gets an answer; its
// mean then says more about the scheduler than about the rings, so the median is reported too.
void job_to_event_round_trip(benchmark::State& state) {
    constexpr std::uint32_t kCapacity = 16;
    std::vector<JobSlot> job_slots(kCapacity);
    std::vector<EventSlot> event_slots(kCapacity);
    alignas(128) std::uint32_t jobs_consumed = 0;
    alignas(128) std::uint32_t events_consumed = 0;
    alignas(128) std::uint32_t stop = 0;
    const auto wait = [](std::uint32_t& spins) {
        if (++spins < 2000) {
            __builtin_ia32_pause();
        } else {
            sched_yield();
        }
    };
    std::thread kernel([&] {
        JobConsumer jobs(job_slots.data(), kCapacity, 0);
        EventProducer events(event_slots.data(), kCapacity, &events_consumed, 0, 0);
        DecodeJob job;
        for (std::uint32_t spins = 0; load_relaxed(&stop) == 0;) {
            if (!jobs.try_pop(&job)) {
                wait(spins);
                continue;
            }
            spins = 0;
            store_release(&jobs_consumed, jobs.next());
            TokenEvent e;
            e.token = job.n_prompt;
            benchmark::DoNotOptimize(events.try_push(e));
        }
    });
    JobProducer jobs(job_slots.data(), kCapacity, &jobs_consumed, 0, 0);
    EventConsumer events(event_slots.data(), kCapacity, 0);
    DecodeJob job;
    TokenEvent e;
    using Clock = std::chrono::steady_clock;
    std::vector<double> times_ns;
    times_ns.reserve(1 << 20);
    for (auto _ : state) {
        const auto begin = Clock::now();
        ++job.n_prompt;
        benchmark::DoNotOptimize(jobs.try_push(job));
        for (std::uint32_t spins = 0; !events.try_pop(&e);) wait(spins);
        store_release(&events_consumed, events.next());
        times_ns.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count());
        if (e.token != job.n_prompt) {
            state.SkipWithError("the answer is to another job");
            break;
        }
    }
    store_relaxed(&stop, 1u);
    kernel.join();
    const auto middle = times_ns.begin() + static_cast<std::ptrdiff_t>(times_ns.size() / 2);
    std::nth_element(times_ns.begin(), middle, times_ns.end());
    state.counters["p50_ns"] = *middle;
}
BENCHMARK(job_to_event_round_trip)->UseRealTime();

}  // namespace
}  // namespace vigil::ring

BENCHMARK_MAIN();
