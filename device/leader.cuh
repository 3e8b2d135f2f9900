// The leader, block 0 and in it thread 0, speaks with the host: takes jobs, emits events, decides at each token
// boundary whether the grid goes on. It is the only writer of DecodeState and of the pinned words the kernel owns.
//
// While it works it keeps DecodeState in its block's shared memory: one look at device memory costs as long as a whole
// token boundary should. The copy in device memory is what it was when the kernel came, but for the job; it is true
// again when the kernel has left.
#pragma once

#include "device/phases/common.cuh"
#include "device/phases/logits.cuh"
#include "device/phases/sample.cuh"
#include "ringbuf/ring.h"

namespace vigil::device {

template <class M>
VIGIL_DEVICE DecodeState* leader_state(const M& m) {
    return &m.scratch()->leader;
}

// DecodeState into shared memory and back. All threads of block 0; load ends with it visible to all.
template <class M>
VIGIL_DEVICE void load_state(const M& m, const KernelArgs& a) {
    constexpr int kWords = sizeof(DecodeState) / sizeof(std::uint32_t);
    const auto* from = reinterpret_cast<const std::uint32_t*>(a.state);
    auto* to = reinterpret_cast<std::uint32_t*>(leader_state(m));
    for (int i = m.team.thread(); i < kWords; i += m.team.n_threads()) to[i] = ring::load_relaxed(&from[i]);
    if (m.team.thread() == 0) m.scratch()->job_taken_ns = 0;
    m.team.sync();
}
template <class M>
VIGIL_DEVICE void store_state(const M& m, const KernelArgs& a) {
    constexpr int kWords = sizeof(DecodeState) / sizeof(std::uint32_t);
    const auto* from = reinterpret_cast<const std::uint32_t*>(leader_state(m));
    auto* to = reinterpret_cast<std::uint32_t*>(a.state);
    m.team.sync();
    for (int i = m.team.thread(); i < kWords; i += m.team.n_threads()) ring::store_relaxed(&to[i], from[i]);
}

VIGIL_DEVICE std::uint32_t job_slot(const KernelArgs& a, const DecodeState& s) {
    return s.next_job & (a.job_capacity - 1);
}

// Requested before the logits and used after them: the read across PCIe, about a microsecond, passes meanwhile.
// (Requested before the layers the words would hold registers that attention needs.)
VIGIL_DEVICE HostWords request_host_words(const KernelArgs& a, const DecodeState& s) {
    return {ring::load_relaxed(&a.control->command), ring::load_relaxed(&a.control->lease),
            ring::load_relaxed(&a.job_cancel[job_slot(a, s)])};
}

VIGIL_DEVICE bool lease_lost(Lease& lease, std::uint32_t word, std::uint64_t now, std::uint64_t limit_ns) {
    if (lease.since_ns == 0 || word != lease.seen) lease = {word, now};
    return now - lease.since_ns > limit_ns;
}

VIGIL_DEVICE void leave_with(const KernelArgs& a, DecodeState& s, ring::Fault fault) {
    ring::store_relaxed(&a.status->fault, static_cast<std::uint32_t>(fault));
    s.leave = 1;
}

// The ring has room for `n` more events. Waiting is bounded: a host that does not drain the ring makes the kernel leave
// with nothing lost, since the token is decided again when it comes back.
template <class Team>
VIGIL_DEVICE bool room_for_events(const KernelArgs& a, DecodeState& s, std::uint32_t n, bool may_wait) {
    std::uint64_t give_up = 0;
    for (std::uint32_t spins = 0; s.next_event + n - s.events_consumed > a.event_capacity; ++spins) {
        // Pairs with the completion side's store_release after it has read the slots.
        s.events_consumed = ring::load_acquire(&a.control->events_consumed);
        if (s.next_event + n - s.events_consumed <= a.event_capacity) break;
        const std::uint64_t now = Team::clock_ns();
        if (give_up == 0) give_up = now + a.deadline_ns;
        if (!may_wait || now > give_up) return false;
        Team::pause(spins);
        Team::rest(spins);
    }
    return true;
}

template <class Team>
VIGIL_DEVICE void emit(const KernelArgs& a, DecodeState& s, ring::EventKind kind, ring::FinishReason reason, int token,
                       float logprob) {
    ring::TokenEvent e;
    e.kind = kind;
    e.reason = reason;
    e.job = static_cast<std::uint16_t>(s.job.id & 0xffffu);
    e.token = token;
    e.logprob = logprob;
    e.time_ns = Team::clock_ns();
    ring::encode(&a.event_slots[s.next_event & (a.event_capacity - 1)], e, s.next_event + 1);
    ++s.next_event;
    ++s.n_events;
}

template <class Team>
VIGIL_DEVICE void finish_job(const KernelArgs& a, DecodeState& s, ring::FinishReason reason) {
    // The logits rows of all blocks are in host memory before the event that says so.
    if ((s.job.flags & ring::kJobEmitLogits) != 0) ring::fence_system();
    emit<Team>(a, s, ring::EventKind::kFinished, reason, static_cast<int>(s.n_events), 0.0f);
    s.active = 0;
    ++s.next_job;
    // From here the host may fill the slot again: pairs with load_acquire in the job ring's Producer.
    ring::store_release(&a.status->jobs_consumed, s.next_job);
}

// One look across PCIe for the next job and at the host's words, which go to the scratch; true if the job is there, and
// in DecodeState then. All lanes of warp 0.
// A lane asks for one word each, so that all come with one trip: a thread's own looks at a line of host memory wait for
// each other, a microsecond each. Nothing orders the lanes' looks, so it is the check that says whether the slot's
// words belong together. Most looks find no new sequence number, and then the next one is not kept waiting by the sums.
template <class M>
VIGIL_DEVICE bool look_for_job(const M& m, const KernelArgs& a) {
    DecodeState& s = *leader_state(m);
    HostWords& host = m.scratch()->host;
    if constexpr (M::Team::kWarpSize == 1) {
        host = request_host_words(a, s);
        ring::JobConsumer jobs(a.job_slots, a.job_capacity, s.next_job);
        return jobs.try_pop(&s.job);
    } else {
        enum : int { kCancel = ring::kSlotWords, kCommand, kLease };
        static_assert(kLease < M::Team::kWarpSize, "a lane for each word");
        const int lane = m.team.lane();
        const std::uint32_t slot = job_slot(a, s);
        std::uint32_t control = 0;
        if (lane == kCommand || lane == kLease)
            control = ring::load_relaxed(lane == kCommand ? &a.control->command : &a.control->lease);
        std::uint64_t word = 0;
        // Last, since it is waited for at once. Pairs with store_release in encode(JobSlot): the prompt is there, too.
        if (lane <= kCancel)
            word = ring::load_acquire(lane < kCancel ? reinterpret_cast<const std::uint64_t*>(&a.job_slots[slot]) + lane
                                                     : &a.job_cancel[slot]);
        if (lane == kCancel) host.cancelled_job = word;
        if (lane == kCommand) host.command = control;
        if (lane == kLease) host.lease = control;
        const std::uint64_t expected = static_cast<std::uint32_t>(s.next_job + 1);
        const bool new_job = lane == ring::kSequenceWord && word == expected;
        bool there = m.team.lane_highest(new_job ? 1 : 0) != 0;
        if (there) {
            // The sum of all parts is 0 if the check is right.
            const std::uint64_t part = lane < ring::kCheckWord ? ring::job_check(word, lane) : 0;
            auto low = static_cast<std::uint32_t>(part);
            auto high = static_cast<std::uint32_t>(part >> 32);
            if (lane == ring::kCheckWord) {
                low = 0 - static_cast<std::uint32_t>(word);
                high = 0 - static_cast<std::uint32_t>(word >> 32);
            }
            there = (m.team.lane_total(low) | m.team.lane_total(high)) == 0;
            if (there && lane < ring::kJobWords) memcpy(reinterpret_cast<char*>(&s.job) + 8 * lane, &word, sizeof word);
        }
        m.team.sync_warp();
        return there;
    }
}

// Takes the next job if there is one. All lanes of warp 0.
template <class M>
VIGIL_DEVICE bool take_job(const M& m, const KernelArgs& a) {
    using Team = typename M::Team;
    DecodeState& s = *leader_state(m);
    if (!look_for_job(m, a)) return false;
    if (m.team.lane() == 0) {
        if (s.job.kv_rows == 0) s.job.kv_rows = a.config.max_seq_len - s.job.kv_first;
        s.n_generated = 0;
        s.n_events = 0;
        m.scratch()->job_taken_ns = Team::clock_ns();
    }
    return true;
}

// What one token may put into the event ring: itself, its alternatives and the job's end.
VIGIL_DEVICE std::uint32_t events_per_token(const ring::DecodeJob& job) {
    return 2 + static_cast<std::uint32_t>(job.n_alternatives);
}

VIGIL_DEVICE bool job_fits(const KernelArgs& a, const ring::DecodeJob& job) {
    const int rows = a.config.max_seq_len;
    // All of them: one after the other, each would wait for its words.
    int violated = 0;
    const auto require = [&](bool holds) { violated |= holds ? 0 : 1; };
    require(job.kv_first >= 0);
    require(job.kv_first < rows);
    require(job.kv_rows > 0);
    require(job.kv_rows <= std::int64_t{rows} - job.kv_first);
    require(job.n_prompt > 0);
    require(job.n_prompt <= job.kv_rows);
    require(job.n_cached >= 0);
    require(job.n_cached < job.n_prompt);
    require(job.max_new_tokens >= 0);
    require(job.n_stop_tokens <= ring::kMaxStopTokens);
    require(job.n_alternatives >= 0);
    require(job.n_alternatives <= ring::kMaxAlternatives);
    require(job.n_alternatives <= a.config.vocab_size);
    require(events_per_token(job) <= a.event_capacity);
    return violated == 0;
}

// The positions of `history` that a job makes use of before it has generated them itself. Often there are none, and a
// look at the prompt, another trip across PCIe, is saved: the first token to feed has come with the job.
VIGIL_DEVICE int first_of_history(const ring::DecodeJob& job) {
    return has_penalties(job.sampling) ? 0 : job.n_cached + 1;
}

VIGIL_DEVICE bool is_token(const KernelArgs& a, std::int32_t token) {
    return token >= 0 && token < a.config.vocab_size;
}

// Why a job that can run ends before its first token, if it does.
VIGIL_DEVICE ring::FinishReason ends_at_once(const ring::DecodeJob& job, const HostWords& host) {
    if (host.cancelled_job == job.id) return ring::FinishReason::kCancelled;
    if (job.max_new_tokens == 0 && (job.flags & ring::kJobScore) == 0) return ring::FinishReason::kLength;
    return ring::FinishReason::kNone;
}

// The end of a job without a token. Thread 0 of block 0.
template <class M>
VIGIL_DEVICE void finish_at_once(const M& m, const KernelArgs& a, ring::FinishReason reason) {
    ring::store_relaxed(&a.status->job_taken_ns, m.scratch()->job_taken_ns);
    finish_job<typename M::Team>(a, *leader_state(m), reason);
}

// Finishes the job just taken if it ends at once and that can be said without a look at its prompt, for which the
// block's threads would have to come together: half a microsecond. Thread 0 of block 0.
template <class M>
VIGIL_DEVICE bool finish_alone(const M& m, const KernelArgs& a) {
    const ring::DecodeJob& job = leader_state(m)->job;
    const ring::FinishReason reason = ends_at_once(job, m.scratch()->host);
    if (reason == ring::FinishReason::kNone || !job_fits(a, job) || !is_token(a, job.first_token) ||
        first_of_history(job) < job.n_prompt)
        return false;
    finish_at_once(m, a, reason);
    return true;
}

// Makes the job just taken active, or finishes it at once if it can't run; brings what is needed of its prompt into
// `history`. All threads of block 0.
template <class M>
VIGIL_DEVICE void begin_job(M& m, const KernelArgs& a) {
    DecodeState& s = *leader_state(m);
    const ring::DecodeJob& job = s.job;
    const bool fits = job_fits(a, job);
    bool tokens_valid = is_token(a, job.first_token);
    if (fits) {
        const std::int32_t* prompt = a.job_tokens + static_cast<std::size_t>(job_slot(a, s)) * a.config.max_seq_len;
        for (int i = first_of_history(job) + m.team.thread(); i < job.n_prompt; i += m.team.n_threads()) {
            const std::int32_t token = ring::load_relaxed(&prompt[i]);
            if (!is_token(a, token)) tokens_valid = false;
            a.history[i] = token;
        }
    }
    // For the other blocks, which look at the job's parameters in device memory.
    constexpr int kWords = sizeof(ring::DecodeJob) / sizeof(std::uint32_t);
    const auto* from = reinterpret_cast<const std::uint32_t*>(&job);
    auto* to = reinterpret_cast<std::uint32_t*>(&a.state->job);
    for (int i = m.team.thread(); i < kWords; i += m.team.n_threads()) ring::store_relaxed(&to[i], from[i]);

    const bool runs = m.team.sync_count(!(fits && tokens_valid)) == 0;
    if (m.team.thread() == 0) {
        const ring::FinishReason reason = runs ? ends_at_once(job, m.scratch()->host) : ring::FinishReason::kFault;
        if (reason != ring::FinishReason::kNone) {
            finish_at_once(m, a, reason);
        } else {
            s.token = job.first_token;
            s.position = job.n_cached;
            s.active = 1;
        }
    }
    m.team.sync();
}

// What is left to wait for when no job is active, and for how long.
enum class Waiting { kNot, kUntilIdle };

enum class Decision : std::uint32_t { kNothing, kAgain, kBegin, kLeave };

// Waits until a job is taken that has to be begun, or the grid is to leave; with kNot it looks until there is no job.
// All lanes of warp 0; the decision is in the scratch's flag.
template <class M>
VIGIL_DEVICE void await_job(const M& m, const KernelArgs& a, Waiting waiting) {
    using Team = typename M::Team;
    DecodeState& s = *leader_state(m);
    const HostWords& host = m.scratch()->host;
    std::uint32_t* flag = &m.scratch()->flag;
    constexpr std::uint32_t kLooksBetweenClocks = 16;  // the next look need not wait for the clock each time
    std::uint64_t idle_since = 0;
    for (std::uint32_t spins = 0;; ++spins) {
        const bool taken = take_job(m, a);
        if (m.team.lane() == 0) {
            Decision decision = Decision::kNothing;
            // A job that is taken must be able to say how it ended; one that is not is looked at again.
            if (taken && room_for_events<Team>(a, s, 1, false)) {
                decision = finish_alone(m, a) ? Decision::kAgain : Decision::kBegin;
            } else if (waiting == Waiting::kUntilIdle) {
                if (host.command != static_cast<std::uint32_t>(ring::Command::kRun)) {
                    s.leave = 1;
                    decision = Decision::kLeave;
                } else if (spins % kLooksBetweenClocks == 0) {
                    const std::uint64_t now = Team::clock_ns();
                    if (idle_since == 0) idle_since = now;
                    if (now - idle_since > a.idle_park_ns) {
                        s.leave = 1;
                        decision = Decision::kLeave;
                    } else if (lease_lost(m.scratch()->lease, host.lease, now, a.lease_ns)) {
                        leave_with(a, s, ring::Fault::kHostGone);
                        decision = Decision::kLeave;
                    }
                }
            }
            *flag = static_cast<std::uint32_t>(decision);
        }
        m.team.sync_warp();
        const auto decided = static_cast<Decision>(*flag);
        if (decided == Decision::kAgain) {
            spins = 0, idle_since = 0;
            continue;
        }
        if (decided != Decision::kNothing || waiting == Waiting::kNot) return;
        Team::pause(spins);
        Team::rest(spins);
    }
}

// Makes a job active, or says that the grid leaves. Block 0; with kNot it looks once and returns.
template <class M>
VIGIL_DEVICE void direct(M& m, const KernelArgs& a, Waiting waiting) {
    const DecodeState& s = *leader_state(m);
    while (s.active == 0) {
        if (m.team.warp() == 0) {
            if (m.team.thread() == 0 && waiting == Waiting::kUntilIdle)
                ring::store_relaxed(&a.status->state, static_cast<std::uint32_t>(ring::KernelState::kIdle));
            await_job(m, a, waiting);
        }
        m.team.sync();
        const auto decided = static_cast<Decision>(m.scratch()->flag);
        m.team.sync();
        if (decided != Decision::kBegin) return;
        begin_job(m, a);
    }
}

// Tells the host that a job has been taken. Thread 0 of block 0, once the blocks have heard of it: their directive's
// release would wait for a write across PCIe.
template <class M>
VIGIL_DEVICE void say_begun(const M& m, const KernelArgs& a) {
    if (leader_state(m)->active == 0 || m.scratch()->job_taken_ns == 0) return;
    ring::store_relaxed(&a.status->state, static_cast<std::uint32_t>(ring::KernelState::kDecoding));
    ring::store_relaxed(&a.status->job_taken_ns, m.scratch()->job_taken_ns);
}

VIGIL_DEVICE bool wants_logits(const DecodeState& s) {
    return s.position + 1 >= s.job.n_prompt || (s.job.flags & ring::kJobScore) != 0;
}

// Tells all blocks what comes next. Thread 0 of block 0. The last word goes out with release, so that whoever has seen
// it has seen the job, history and the KV cache, too. Pairs with await_directive.
template <class M>
VIGIL_DEVICE void publish_directive(const M& m, const KernelArgs& a) {
    const DecodeState& s = *leader_state(m);
    const std::uint32_t flags = (s.active != 0 ? kDirectiveActive : 0u) | (s.leave != 0 ? kDirectiveLeave : 0u) |
                                (wants_logits(s) ? kDirectiveWantsLogits : 0u);
    const std::uint32_t sequence = m.scratch()->directives + 1;
    const std::uint32_t values[kDirectiveWords] = {
        static_cast<std::uint32_t>(s.token),        flags,    static_cast<std::uint32_t>(s.position),
        static_cast<std::uint32_t>(s.job.kv_first), s.passes, static_cast<std::uint32_t>(s.n_generated)};
    const auto word = [&](int i) { return static_cast<std::uint64_t>(values[i]) << 32 | sequence; };
    VIGIL_UNROLL
    for (int i = 1; i < kDirectiveWords; ++i) ring::store_relaxed(&a.sync->directive[i], word(i));
    ring::store_release_device(&a.sync->directive[0], word(0));
}

VIGIL_DEVICE bool is_stop_token(const ring::DecodeJob& job, int token) {
    if ((job.flags & ring::kJobIgnoreEos) != 0) return false;
    for (std::uint32_t i = 0; i < job.n_stop_tokens; ++i)
        if (job.stop_tokens[i] == token) return true;
    return false;
}

// What a token came to, before the host is told.
struct Outcome {
    ring::EventKind kind;       // of the event, if `emits`
    ring::FinishReason reason;  // kNone: the job goes on
    bool emits;
};

// Thread 0 of block 0 moves the state on by one token. `choice` counts only if this token wanted logits.
template <class Team>
VIGIL_DEVICE Outcome advance(const KernelArgs& a, DecodeState& s, const TokenContext& t, const Choice& choice,
                             const HostWords& host, bool may_wait) {
    const ring::DecodeJob& job = s.job;
    s.passes = t.pass + 1;
    Outcome outcome{ring::EventKind::kToken, ring::FinishReason::kNone, false};
    if (!room_for_events<Team>(a, s, events_per_token(job), may_wait)) {
        // Under launch dispatch the host simply runs the token again once it has read events.
        if (may_wait) leave_with(a, s, ring::Fault::kEventRingFull);
        return outcome;
    }
    const int next = t.position + 1;
    if (host.cancelled_job == job.id) {
        outcome.reason = ring::FinishReason::kCancelled;
    } else if ((job.flags & ring::kJobScore) != 0) {
        outcome.kind = ring::EventKind::kScore;
        outcome.emits = next < job.n_prompt;
        if (!outcome.emits) outcome.reason = ring::FinishReason::kLength;
    } else if (t.wants_logits) {
        outcome.emits = true;
        ++s.n_generated;
        s.token = choice.token;
        ring::store_relaxed(&a.history[next], choice.token);
        if (is_stop_token(job, choice.token))
            outcome.reason = ring::FinishReason::kStopToken;
        else if (s.n_generated >= job.max_new_tokens || next >= job.kv_rows)
            outcome.reason = ring::FinishReason::kLength;
    }
    if (next < job.n_prompt) s.token = ring::load_relaxed(&a.history[next]);
    s.position = next;
    return outcome;
}

// Tells the host. After this the job's slot may be the host's again.
template <class Team>
VIGIL_DEVICE void tell(const KernelArgs& a, DecodeState& s, const Outcome& outcome, const Choice& choice,
                       const Alternative* alternatives) {
    ring::store_relaxed(&a.status->tokens, s.passes);
    if (outcome.emits) {
        const bool generated = outcome.kind == ring::EventKind::kToken;
        for (int i = 0; generated && i < s.job.n_alternatives; ++i)
            emit<Team>(a, s, ring::EventKind::kAlternative, ring::FinishReason::kNone, alternatives[i].token,
                       alternatives[i].logprob);
        emit<Team>(a, s, outcome.kind, ring::FinishReason::kNone, choice.token, choice.logprob);
    }
    if (outcome.reason != ring::FinishReason::kNone) finish_job<Team>(a, s, outcome.reason);
}

// Whether the grid goes on by itself after a token, or the leader must look for a job first, or leaves.
enum class Onward : std::uint32_t { kPublished, kUndecided, kLeaves };

// To be asked before the leader announces a token at `position`, which is fed in pass `pass`; block 0, all threads. If
// its attention is cut into other parts than the last token's, words of parts that were not in use then carry some
// epoch, which might be the next one: they get the epoch before that.
template <class M>
VIGIL_DEVICE void renew_parts(const M& m, const KernelArgs& a, int position, std::uint32_t pass) {
    if (m.scratch()->attention.n_splits == kv_split(a.plan, position + 1).count) return;
    const std::uint32_t before = pass * static_cast<std::uint32_t>(a.config.n_layers);
    const int n = a.config.n_heads * part_floats(a.config.head_dim) * a.plan.max_kv_splits;
    VIGIL_UNROLL_BY(1)
    for (int i = m.team.thread_anew(); i < n; i += m.team.n_threads()) m.publish_once(a.act.partials + i, 0.0f, before);
    m.team.sync();
}

// Tells the blocks what comes next, and then the host of a job that begins. If it is `undecided` a job is waited for
// first. Block 0, all threads.
template <class M>
VIGIL_DEVICE void announce(M& m, const KernelArgs& a, bool undecided) {
    if (undecided) {
        const DecodeState& s = *leader_state(m);
        direct(m, a, Waiting::kUntilIdle);
        renew_parts(m, a, s.position, s.passes);
    }
    if (m.team.thread() != 0) return;
    publish_directive(m, a);
    say_begun(m, a);
}

// The end of a token: chooses or scores, moves on, tells the blocks and then the host. Block 0. With `early` the blocks
// hear of the next token before the host hears of this one.
//   reads      tiles, scores, logits
//   writes     history, DecodeState, the event ring
//   needs      the tiles of all blocks in place, if this token wants logits
template <class M>
VIGIL_DEVICE Onward finish_token(M& m, const KernelArgs& a, const TokenContext& t, const HostWords& host, bool may_wait,
                                 bool early) {
    using Team = typename M::Team;
    DecodeState& s = *leader_state(m);
    Choice choice{0, 0.0f, 0.0f};
    const Alternative* alternatives = nullptr;
    const bool scores = (s.job.flags & ring::kJobScore) != 0;
    if (t.wants_logits && !(scores && t.position + 1 >= s.job.n_prompt)) {
        const int given = scores ? ring::load_relaxed(&a.history[t.position + 1]) : -1;
        choice = choose_token(m, a, s.job.sampling, t.position, given);
        if (!scores && s.job.n_alternatives > 0)
            alternatives = most_probable(m, a, s.job.n_alternatives, choice.log_sum_exp);
    }
    if (early) renew_parts(m, a, t.position + 1, t.pass + 1);
    std::uint32_t* onward = &m.scratch()->flag;
    if (m.team.thread() == 0) {
        const Outcome outcome = advance<Team>(a, s, t, choice, host, may_wait);
        const bool goes_on = early && outcome.reason == ring::FinishReason::kNone && s.leave == 0;
        if (goes_on) publish_directive(m, a);
        const Onward where = goes_on ? Onward::kPublished : s.leave == 0 ? Onward::kUndecided : Onward::kLeaves;
        *onward = static_cast<std::uint32_t>(where);
        tell<Team>(a, s, outcome, choice, alternatives);
    }
    // Not by a look at the state: once told, the host may make the leader leave before the block's last warp has
    // looked.
    m.team.sync();
    const auto where = static_cast<Onward>(*onward);
    m.team.sync();
    return where;
}

}  // namespace vigil::device
