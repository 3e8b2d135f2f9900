// The cancel word at every moment of a job's life, and jobs that end without a token. The leader is the kernel's own
// (device/leader.cuh) on one host thread; only the model is left out: a token's number stands for the token.
#include <algorithm>
#include <cstdint>
#include <doctest/doctest.h>
#include <limits>
#include <thread>
#include <vector>

#include "device/cpu/team.h"
#include "device/leader.cuh"
#include "tests/ringbuf/test_ring.h"

namespace vigil::device {
namespace {

using ring::DecodeJob;
using ring::EventKind;
using ring::FinishReason;
using ring::TokenEvent;

struct TestIsa {};
using Team = CpuTeam<TestIsa>;
using TestMachine = Machine<Team, LaunchExchange<Team>>;

constexpr int kPromptTokens = 2;
constexpr int kNewTokens = 4;
// The first step feeds the prompt's first token, which asks for no new one.
constexpr int kSteps = kPromptTokens - 1 + kNewTokens;

// Both sides' memory for jobs of one size, the leader on top.
class Leader {
   public:
    explicit Leader(std::uint32_t job_capacity)
        : slots(job_capacity), tokens(job_capacity * kMaxSeqLen), cancel(job_capacity), events(64) {
        args.config.max_seq_len = kMaxSeqLen;
        args.config.vocab_size = 1000;
        args.history = history;
        args.state = &stored;
        args.job_slots = slots.data();
        args.job_tokens = tokens.data();
        args.job_cancel = cancel.data();
        args.event_slots = events.data();
        args.control = &control;
        args.status = &status;
        args.job_capacity = job_capacity;
        args.event_capacity = static_cast<std::uint32_t>(events.size());
        args.deadline_ns = args.idle_park_ns = args.lease_ns = 60'000'000'000u;
    }

    bool take() { return take_job(machine, args); }
    void begin() { begin_job(machine, args); }
    // Takes jobs until one is active or there is none.
    void look() { direct(machine, args, Waiting::kNot); }
    bool active() const { return leader_state(machine)->active != 0; }
    int token() const { return leader_state(machine)->token; }  // fed next

    // One token's worth of the resident loop, with `between` where the layers' work lies between asking for the host's
    // words and using them.
    template <class Between>
    void step(Between between) {
        DecodeState& s = state();
        TokenContext t{};
        t.wants_logits = wants_logits(s);
        t.position = s.position;
        t.pass = s.passes;
        const HostWords host = request_host_words(args, s);
        between();
        const Choice choice{s.n_generated, 0.0f, 0.0f};
        const Outcome outcome = advance<Team>(args, s, t, choice, host, true);
        tell<Team>(args, s, outcome, choice, nullptr);
    }

    // Serves jobs until `n_jobs` are done, as the resident loop does.
    void serve(std::uint32_t n_jobs) {
        while (state().next_job != n_jobs) {
            look();
            if (!active()) {
                std::this_thread::yield();
                continue;
            }
            step([] {});
        }
    }

    static constexpr std::int32_t kMaxSeqLen = 8;
    KernelArgs args;
    std::vector<ring::JobSlot> slots;
    std::vector<std::int32_t> tokens;
    std::vector<std::uint64_t> cancel;
    std::vector<ring::EventSlot> events;
    ring::HostControl control;
    ring::KernelStatus status;

   private:
    std::int32_t history[kMaxSeqLen + 1] = {};
    DecodeState& state() { return *leader_state(machine); }

    DecodeState stored;  // what the leader keeps in device memory; while it works it has a copy in its scratch
    BlockScratch scratch{};
    TestMachine machine{{reinterpret_cast<char*>(&scratch), 0, 1}, {}};
};

// The host's side of the rings, one thread.
class Host {
   public:
    explicit Host(Leader& leader)
        : leader_(leader),
          jobs_(leader.slots.data(), leader.args.job_capacity, &leader.status.jobs_consumed, 0, 0),
          events_(leader.events.data(), leader.args.event_capacity, 0) {}

    bool submit(std::uint64_t id) {
        DecodeJob job;
        job.id = id;
        job.n_prompt = kPromptTokens;
        job.max_new_tokens = kNewTokens;
        return submit(job);
    }
    bool submit(const DecodeJob& job) { return jobs_.try_push(job); }

    // `slot_of` is the index of the job whose slot it is.
    void cancel(std::uint32_t slot_of, std::uint64_t id) {
        ring::store_relaxed(&leader_.cancel[slot_of & (leader_.args.job_capacity - 1)], id);
    }

    bool next_event(TokenEvent* e) {
        if (!events_.try_pop(e)) return false;
        ring::store_release(&leader_.control.events_consumed, events_.next());
        return true;
    }

    // How a job ended, having checked that its events are whole and in order and that nothing follows.
    struct Outcome {
        FinishReason reason;
        int n_tokens;
    };
    Outcome outcome(std::uint64_t id) {
        TokenEvent e;
        int n_tokens = 0;
        for (;;) {
            REQUIRE(next_event(&e));
            REQUIRE(e.job == static_cast<std::uint16_t>(id));
            if (e.kind == EventKind::kFinished) break;
            REQUIRE(e.token == n_tokens);
            ++n_tokens;
        }
        CHECK(e.token == n_tokens);
        const Outcome outcome{e.reason, n_tokens};
        CHECK_FALSE(next_event(&e));
        return outcome;
    }

   private:
    Leader& leader_;
    ring::JobProducer jobs_;
    ring::EventConsumer events_;
};

// The moments of a job: before it is submitted, before it is taken, before it begins, then before and after the host's
// words are asked for at each step, and after its end.
constexpr int kBeforeSubmit = 0;
constexpr int kBeforeTake = 1;
constexpr int kBeforeBegin = 2;
constexpr int kFirstStep = 3;
constexpr int kAfterEnd = kFirstStep + 2 * kSteps;

// Runs one job and calls `at(moment)` at each of its moments.
template <class At>
Host::Outcome run_job(Leader& leader, Host& host, std::uint64_t id, At at) {
    at(kBeforeSubmit);
    REQUIRE(host.submit(id));
    at(kBeforeTake);
    REQUIRE(leader.take());
    at(kBeforeBegin);
    leader.begin();
    for (int i = 0; i < kSteps && leader.active(); ++i) {
        at(kFirstStep + 2 * i);
        leader.step([&] { at(kFirstStep + 2 * i + 1); });
    }
    REQUIRE_FALSE(leader.active());
    at(kAfterEnd);
    return host.outcome(id);
}

// What a cancel word written at `moment` leads to: it is first seen at the beginning, or by the next request.
Host::Outcome expected_outcome(int moment) {
    if (moment < kFirstStep) return {FinishReason::kCancelled, 0};
    const int seen_by_step = (moment - kFirstStep + 1) / 2;
    if (seen_by_step >= kSteps) return {FinishReason::kLength, kNewTokens};
    return {FinishReason::kCancelled, std::max(0, seen_by_step - (kPromptTokens - 1))};
}

TEST_CASE("a job nobody cancels runs to its length") {
    Leader leader(1);
    Host host(leader);
    const auto end = run_job(leader, host, 1, [](int) {});
    CHECK(end.reason == FinishReason::kLength);
    CHECK(end.n_tokens == kNewTokens);
}

// One cached prompt token, so nothing of the prompt has to be read.
DecodeJob job_without_tokens(std::uint64_t id) {
    DecodeJob job;
    job.id = id;
    job.n_prompt = 1;
    return job;
}

TEST_CASE("jobs without tokens end one after the other, and the next one begins") {
    Leader leader(4);
    Host host(leader);
    for (std::uint64_t id = 1; id <= 3; ++id) REQUIRE(host.submit(job_without_tokens(id)));
    REQUIRE(host.submit(4));
    host.cancel(1, 2);
    leader.look();
    CHECK(leader.active());
    CHECK(ring::load_relaxed(&leader.status.jobs_consumed) == 3);
    for (const FinishReason reason : {FinishReason::kLength, FinishReason::kCancelled, FinishReason::kLength}) {
        TokenEvent e;
        REQUIRE(host.next_event(&e));
        CHECK(e.kind == EventKind::kFinished);
        CHECK(e.reason == reason);
    }
}

TEST_CASE("a job without tokens has to fit all the same") {
    const auto reason_of = [](const DecodeJob& job, std::int32_t second_token = 0) {
        Leader leader(1);
        Host host(leader);
        leader.tokens[1] = second_token;
        REQUIRE(host.submit(job));
        leader.look();
        CHECK_FALSE(leader.active());
        return host.outcome(job.id).reason;
    };
    DecodeJob job = job_without_tokens(1);
    CHECK(reason_of(job) == FinishReason::kLength);
    job.kv_rows = 1;
    for (const std::int32_t row : {std::numeric_limits<std::int32_t>::min(), -1, Leader::kMaxSeqLen}) {
        CAPTURE(row);
        job.kv_first = row;
        CHECK(reason_of(job) == FinishReason::kFault);
    }
    job = job_without_tokens(1);
    job.first_token = 1000;
    CHECK(reason_of(job) == FinishReason::kFault);
    // Of a longer prompt the rest is looked at.
    job = job_without_tokens(1);
    job.n_prompt = 2;
    CHECK(reason_of(job, 999) == FinishReason::kLength);
    CHECK(reason_of(job, -1) == FinishReason::kFault);
}

TEST_CASE("a cancel at any moment ends its job within a token, and leaves the next one in the slot alone") {
    for (int moment = 0; moment <= kAfterEnd; ++moment) {
        CAPTURE(moment);
        Leader leader(1);
        Host host(leader);
        const auto end = run_job(leader, host, 1, [&](int now) {
            if (now == moment) host.cancel(0, 1);
        });
        CHECK(end.reason == expected_outcome(moment).reason);
        CHECK(end.n_tokens == expected_outcome(moment).n_tokens);

        const auto next = run_job(leader, host, 2, [](int) {});  // the word still names job 1
        CHECK(next.reason == FinishReason::kLength);
        CHECK(next.n_tokens == kNewTokens);
    }
}

TEST_CASE("a cancel that comes too late does not hit the next job, whenever it arrives") {
    // Ids that share their low 16, then their low 32 bits: the whole id decides.
    for (const std::uint64_t next_id : {2ull, 0x10001ull, 0x100000001ull})
        for (int moment = 0; moment <= kAfterEnd; ++moment) {
            CAPTURE(moment);
            CAPTURE(next_id);
            Leader leader(1);
            Host host(leader);
            run_job(leader, host, 1, [](int) {});
            const auto next = run_job(leader, host, next_id, [&](int now) {
                if (now == moment) host.cancel(1, 1);
            });
            CHECK(next.reason == FinishReason::kLength);
            CHECK(next.n_tokens == kNewTokens);
        }
}

TEST_CASE("a late cancel may be overwritten by a right one") {
    Leader leader(1);
    Host host(leader);
    run_job(leader, host, 1, [](int) {});
    const auto next = run_job(leader, host, 2, [&](int now) {
        if (now == kBeforeBegin) host.cancel(1, 1);
        if (now == kFirstStep + 4) host.cancel(1, 2);
    });
    CHECK(next.reason == FinishReason::kCancelled);
    CHECK(next.n_tokens == 1);
}

TEST_CASE("a job that waits in the ring can be cancelled while another runs") {
    Leader leader(4);
    Host host(leader);
    REQUIRE(host.submit(1));
    REQUIRE(host.submit(2));
    REQUIRE(host.submit(3));
    host.cancel(1, 2);
    leader.serve(3);
    TokenEvent e;
    FinishReason reasons[4] = {};
    int n_tokens[4] = {};
    while (host.next_event(&e)) {
        REQUIRE(e.job < 4);
        if (e.kind == EventKind::kFinished) reasons[e.job] = e.reason;
        n_tokens[e.job] += e.kind == EventKind::kToken ? 1 : 0;
    }
    CHECK(reasons[1] == FinishReason::kLength);
    CHECK(reasons[2] == FinishReason::kCancelled);
    CHECK(reasons[3] == FinishReason::kLength);
    CHECK(n_tokens[1] == kNewTokens);
    CHECK(n_tokens[2] == 0);
    CHECK(n_tokens[3] == kNewTokens);
}

// A prompt of which the KV cache has all but the last token.
DecodeJob cached_job() {
    DecodeJob job;
    job.id = 1;
    job.n_prompt = 4;
    job.n_cached = 3;
    job.first_token = 7;
    job.max_new_tokens = 1;
    job.sampling.temperature = 0.0f;
    return job;
}

TEST_CASE("a job begins with the token it carries, without a look at the prompt") {
    Leader leader(1);
    Host host(leader);
    std::fill(leader.tokens.begin(), leader.tokens.end(), -1);  // would be refused
    REQUIRE(host.submit(cached_job()));
    REQUIRE(leader.take());
    leader.begin();
    REQUIRE(leader.active());
    CHECK(leader.token() == 7);
    leader.step([] {});
    const auto end = host.outcome(1);
    CHECK(end.reason == FinishReason::kLength);
    CHECK(end.n_tokens == 1);
}

TEST_CASE("a job with a token that is none is refused, wherever it would be used") {
    enum class Bad { kFirst, kFed, kPenalised };
    for (const Bad bad : {Bad::kFirst, Bad::kFed, Bad::kPenalised})
        for (const int token : {-1, 1000}) {
            Leader leader(1);
            Host host(leader);
            DecodeJob job = cached_job();
            if (bad == Bad::kFirst) job.first_token = token;
            if (bad == Bad::kFed) {
                job.n_cached = 2;
                leader.tokens[3] = token;
            }
            if (bad == Bad::kPenalised) {
                job.sampling.repeat_penalty = 1.5f;
                leader.tokens[0] = token;
            }
            REQUIRE(host.submit(job));
            REQUIRE(leader.take());
            leader.begin();
            CHECK_FALSE(leader.active());
            const auto end = host.outcome(1);
            CHECK(end.reason == FinishReason::kFault);
            CHECK(end.n_tokens == 0);
        }
}

TEST_CASE("the host learns when a job was taken, before the event that ends it") {
    Leader leader(1);
    Host host(leader);
    DecodeJob job = cached_job();
    job.max_new_tokens = 0;
    const std::uint64_t before = Team::clock_ns();
    REQUIRE(host.submit(job));
    REQUIRE(leader.take());
    leader.begin();
    TokenEvent e;
    REQUIRE(host.next_event(&e));
    const std::uint64_t taken = ring::load_relaxed(&leader.status.job_taken_ns);
    CHECK(taken >= before);
    CHECK(((e.time_ns - taken) & ring::kTimeMask) < 60'000'000'000u);
}

TEST_CASE("a slot whose words do not belong together is looked at again, and taken when they do") {
    Leader leader(1);
    Host host(leader);
    REQUIRE(host.submit(cached_job()));
    ring::JobSlot& slot = leader.slots[0];
    const std::int32_t whole = slot.job.max_new_tokens;
    slot.job.max_new_tokens = 0;  // has not arrived yet
    for (int i = 0; i < 3; ++i) CHECK_FALSE(leader.take());
    slot.job.max_new_tokens = whole;
    REQUIRE(leader.take());
    leader.begin();
    CHECK(leader.active());
}

// Two threads: the host cancels some jobs at once, some after a token, some only after their end. Whatever the timing,
// each job ends exactly once, with as many tokens as it says, and only jobs that the host cancelled end cancelled.
TEST_CASE("cancels that race with the leader hit their own job or none") {
    constexpr std::uint32_t kJobs = 20000;
    Leader leader(4);
    Host host(leader);
    std::thread kernel([&] { leader.serve(kJobs); });
    std::vector<char> cancelled(kJobs);
    const auto cancel = [&](std::uint32_t index) {
        host.cancel(index, index + 1);
        cancelled[index] = 1;
    };
    std::uint32_t n_submitted = 0;
    std::uint32_t n_wrong = 0;
    std::uint32_t n_hit = 0;
    int n_tokens = 0;
    for (std::uint32_t index = 0; index < kJobs;) {
        while (n_submitted < kJobs && host.submit(n_submitted + 1)) {
            if (ring::mix(n_submitted) % 5 == 0) cancel(n_submitted);
            ++n_submitted;
        }
        TokenEvent e;
        if (!host.next_event(&e)) {
            std::this_thread::yield();
            continue;
        }
        if (e.job != static_cast<std::uint16_t>(index + 1)) ++n_wrong;
        if (e.kind == EventKind::kToken) {
            if (e.token != n_tokens++) ++n_wrong;
            if (ring::mix(index) % 5 == 1) cancel(index);
            continue;
        }
        if (e.token != n_tokens) ++n_wrong;
        const bool was_cancelled = e.reason == FinishReason::kCancelled;
        if (was_cancelled ? cancelled[index] == 0 : e.reason != FinishReason::kLength || n_tokens != kNewTokens)
            ++n_wrong;
        n_hit += was_cancelled ? 1 : 0;
        // Too late, and perhaps the slot is another's by now. That one's own cancel must not be lost by it.
        const bool slot_is_ours = n_submitted <= index + 4;
        if (ring::mix(index) % 5 == 2 && slot_is_ours) cancel(index);
        n_tokens = 0;
        ++index;
    }
    kernel.join();
    CHECK(n_wrong == 0);
    CHECK(n_hit > 0);
}

}  // namespace
}  // namespace vigil::device
