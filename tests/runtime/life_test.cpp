// The resident kernel's life: it parks, idles, leaves and comes back, and nothing is lost.
#include <atomic>
#include <chrono>
#include <doctest/doctest.h>
#include <functional>
#include <thread>

#include "host/model.h"
#include "host/workspace.h"
#include "runtime/completions.h"
#include "runtime/shared_memory.h"
#include "runtime/supervisor.h"
#include "tests/patience.h"
#include "tests/reference/test_device.h"
#include "tests/runtime/engine_fixture.h"

using namespace vigil;
using namespace vigil::test;
using namespace std::chrono_literals;

namespace {

// The kernel and its supervisor without an engine: the test pushes the jobs and reads the events.
struct Rig {
    explicit Rig(std::uint32_t event_capacity, std::chrono::milliseconds lease,
                 std::chrono::milliseconds lease_interval, std::chrono::milliseconds deadline)
        : device(reference::make_test_device()),
          file(gguf::File::open(model_path())),
          model(file, *device, 256),
          workspace(*device, model.config(), device->plan(model.config())),
          args(make_args(lease, deadline)),
          memory(*device, args, {.job_capacity = 8, .event_capacity = event_capacity, .logits_rows = 0}),
          jobs(memory.job_slots.data(), 8, &memory.status->jobs_consumed, 0, 0),
          supervisor(*device, args, memory,
                     {.lease_interval = lease_interval,
                      .patience = kPatience,
                      .has_work = [this] { return working.load(); },
                      .on_fault = [this](const std::string&) { ++faults; },
                      .on_lost = [this](const std::string&) { ++faults; }}) {
        device->flush_uploads();
    }

    device::KernelArgs make_args(std::chrono::milliseconds lease, std::chrono::milliseconds deadline) const {
        device::KernelArgs a;
        a.weights = model.weights();
        workspace.fill(a);
        a.idle_park_ns = 60'000'000'000;
        a.lease_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(lease).count());
        a.deadline_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(deadline).count());
        return a;
    }

    void push(std::span<const Token> tokens, int max_new_tokens) {
        ring::DecodeJob job;
        job.id = jobs.next() + 1;
        job.n_prompt = static_cast<std::int32_t>(tokens.size());
        job.first_token = tokens.front();
        job.max_new_tokens = max_new_tokens;
        job.sampling.temperature = 0.0f;
        std::copy(tokens.begin(), tokens.end(),
                  memory.job_tokens.begin() + static_cast<std::ptrdiff_t>(jobs.next() % 8) * args.config.max_seq_len);
        working = true;
        REQUIRE(jobs.try_push(job));
        supervisor.ensure_resident();
    }

    // The tokens of a job, up to its end.
    std::vector<Token> read_job(std::chrono::microseconds pause) {
        std::vector<Token> tokens;
        const auto capacity = static_cast<std::uint32_t>(memory.event_slots.size());
        for (const auto give_up = std::chrono::steady_clock::now() + kPatience;
             std::chrono::steady_clock::now() < give_up;) {
            ring::TokenEvent event;
            if (!ring::decode(&memory.event_slots[n_events & (capacity - 1)], &event, n_events + 1)) {
                std::this_thread::sleep_for(50us);
                continue;
            }
            ring::store_release(&memory.control->events_consumed, ++n_events);
            if (event.kind == ring::EventKind::kFinished) {
                working = false;
                CHECK(event.token == static_cast<int>(tokens.size()));
                return tokens;
            }
            tokens.push_back(event.token);
            std::this_thread::sleep_for(pause);
        }
        FAIL("no event for very long");
        return tokens;
    }

    bool wait_until(const std::function<bool()>& condition) {
        for (const auto give_up = std::chrono::steady_clock::now() + kPatience; !condition();) {
            if (std::chrono::steady_clock::now() > give_up) return false;
            std::this_thread::sleep_for(1ms);
        }
        return true;
    }

    std::unique_ptr<host::Device> device;
    gguf::File file;
    host::Model model;
    host::Workspace workspace;
    device::KernelArgs args;
    SharedMemory memory;
    ring::JobProducer jobs;
    std::uint32_t n_events = 0;
    std::atomic<bool> working{false};
    std::atomic<int> faults{0};
    Supervisor supervisor;
};

std::vector<Token> expected_tokens(int n_prompt, int n) {
    EngineOptions inside = options();
    inside.in_kernel_prompt = 256;
    Engine engine = make_engine(inside);
    return run(engine, greedy(prompt(n_prompt), n)).tokens;
}

}  // namespace

TEST_CASE("parking and coming back in the middle of jobs changes no token") {
    Engine engine = make_engine();
    const std::vector<Token> expected = run(engine, greedy(prompt(6), 200)).tokens;
    int cycles = 0;
    for (int round = 0; round < 1000 && cycles < 300; ++round) {
        Generation generation = engine.submit(greedy(prompt(6), 200));
        std::atomic<bool> done{false};
        std::thread parker([&] {
            while (!done) {
                engine.park();
                engine.resume();
                ++cycles;
                std::this_thread::sleep_for(200us);
            }
        });
        const Outcome got = collect(generation);
        done = true;
        parker.join();
        REQUIRE(got.error == "");
        CHECK(got.tokens == expected);
    }
    CHECK(cycles >= 300);
    CHECK(engine.statistics().launches > 100);
}

TEST_CASE("a parked engine gives no token until it is resumed or asked for more") {
    Engine engine = make_engine();
    Generation first = engine.submit(greedy(prompt(6), 200));
    first.next();
    engine.park();
    const std::uint64_t tokens = engine.statistics().tokens;
    std::this_thread::sleep_for(100ms);
    CHECK(engine.statistics().tokens == tokens);
    engine.resume();
    CHECK(collect(first).tokens.size() == 199);
    engine.park();
    CHECK(run(engine, greedy(prompt(4), 5)).tokens.size() == 5);
}

TEST_CASE("prefill between jobs parks and relaunches each time") {
    Engine engine = make_engine();
    const std::vector<Token> expected = run(engine, greedy_anew(prompt(20), 3)).tokens;
    for (int i = 0; i < 100; ++i) REQUIRE(run(engine, greedy_anew(prompt(20), 3)).tokens == expected);
    CHECK(engine.statistics().prefills == 101);
    CHECK(engine.statistics().launches >= 101);
}

TEST_CASE("an idle kernel parks itself and comes back for the next request, also in the middle of leaving") {
    EngineOptions with = options();
    with.idle_park = 5ms;
    Engine engine = make_engine(with);
    const std::vector<Token> expected = run(engine, greedy(prompt(4), 4)).tokens;
    for (int i = 0; i < 60; ++i) {
        // Around the very moment at which it leaves.
        std::this_thread::sleep_for(4ms + std::chrono::microseconds(50 * i));
        const auto begin = std::chrono::steady_clock::now();
        REQUIRE(run(engine, greedy(prompt(4), 4)).tokens == expected);
        CHECK(std::chrono::steady_clock::now() - begin < kSlowdown * 10s);
    }
    CHECK(engine.statistics().launches > 10);
}

TEST_CASE("a kernel that misses its host leaves and comes back with nothing lost") {
    const std::vector<Token> expected = expected_tokens(6, 200);
    // The lease is renewed too seldom on purpose.
    Rig rig(1024, 3ms, 20ms, 20s);
    rig.push(prompt(6), 200);
    CHECK(rig.read_job(0us) == expected);
    CHECK(rig.faults == 0);
    CHECK(rig.wait_until([&] {
        return ring::load_acquire(&rig.memory.status->fault) == static_cast<std::uint32_t>(ring::Fault::kHostGone);
    }));
    rig.push(prompt(6), 200);
    CHECK(rig.read_job(100us) == expected);
    CHECK(rig.supervisor.launches() > 1);
}

TEST_CASE("a kernel whose events nobody reads leaves within its deadline and comes back with nothing lost") {
    const std::vector<Token> expected = expected_tokens(6, 60);
    Rig rig(8, 20s, 10ms, 500ms);
    rig.push(prompt(6), 60);
    REQUIRE(rig.wait_until([&] {
        return ring::load_acquire(&rig.memory.status->fault) == static_cast<std::uint32_t>(ring::Fault::kEventRingFull);
    }));
    // It does not come back before there is room.
    std::this_thread::sleep_for(50ms);
    const std::uint64_t launches = rig.supervisor.launches();
    std::this_thread::sleep_for(300ms);
    CHECK(rig.supervisor.launches() == launches);
    CHECK(rig.read_job(0us) == expected);
    CHECK(rig.supervisor.launches() > launches);
    CHECK(rig.faults == 0);
}

TEST_CASE("a supervisor that was stopped has made the kernel leave") {
    Rig rig(1024, 20s, 10ms, 20s);
    rig.push(prompt(6), 240);
    CHECK(rig.supervisor.stop());
    CHECK(!rig.device->resident());
}
