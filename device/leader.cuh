// The leader, block 0 and in it thread 0, speaks with the host: takes jobs, emits events, decides at each token
// boundary whether the grid goes on. It is the only writer of DecodeState and of the pinned words the kernel owns.
//
// While it works it keeps DecodeState in its block's shared memory: one look at device memory costs as long as a whole
// token boundary should. The copy in device memory is what it was when the kernel came, but for the job; it is true
// again when the kernel has left.
#pragma once

#include "device/phases/common.cuh"
#include "device/phases/sample.cuh"
#include "ringbuf/ring.h"

namespace vigil::device {

// The host's words as the leader saw them, requested before the logits and used after them: the read across PCIe, about
// a microsecond, passes meanwhile. (Requested before the layers they would hold registers that attention needs.)
struct HostWords {
    std::uint32_t command;
    std::uint32_t lease;
    std::uint64_t cancelled_job;
};

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

// The leader takes the next job if there is one. True if a job's prompt is to be copied.
template <class Team>
VIGIL_DEVICE bool take_job(const KernelArgs& a, DecodeState& s) {
    ring::JobConsumer jobs(a.job_slots, a.job_capacity, s.next_job);
    if (!jobs.try_pop(&s.job)) return false;
    if (s.job.kv_rows == 0) s.job.kv_rows = a.config.max_seq_len - s.job.kv_first;
    s.n_generated = 0;
    s.n_events = 0;
    return true;
}

// What one token may put into the event ring: itself, its alternatives and the job's end.
VIGIL_DEVICE std::uint32_t events_per_token(const ring::DecodeJob& job) {
    return 2 + static_cast<std::uint32_t>(job.n_alternatives);
}

VIGIL_DEVICE bool job_fits(const KernelArgs& a, const ring::DecodeJob& job) {
    const int rows = a.config.max_seq_len;
    return job.kv_first >= 0 && job.kv_first < rows && job.kv_rows > 0 && job.kv_rows <= rows - job.kv_first &&
           job.n_prompt > 0 && job.n_prompt <= job.kv_rows && job.n_cached >= 0 && job.n_cached < job.n_prompt &&
           job.max_new_tokens >= 0 && job.n_stop_tokens <= ring::kMaxStopTokens && job.n_alternatives >= 0 &&
           job.n_alternatives <= ring::kMaxAlternatives && job.n_alternatives <= a.config.vocab_size &&
           events_per_token(job) <= a.event_capacity;
}

// Brings the prompt of the job just taken into `history` and makes the job active, or finishes it at once if it can't
// run. All threads of block 0.
template <class M>
VIGIL_DEVICE void begin_job(M& m, const KernelArgs& a) {
    using Team = typename M::Team;
    DecodeState& s = *leader_state(m);
    const ring::DecodeJob& job = s.job;
    const bool fits = job_fits(a, job);
    const std::uint64_t cancelled = ring::load_relaxed(&a.job_cancel[job_slot(a, s)]);  // travels beside the prompt
    bool tokens_valid = true;
    if (fits) {
        const std::int32_t* prompt = a.job_tokens + static_cast<std::size_t>(job_slot(a, s)) * a.config.max_seq_len;
        for (int i = m.team.thread(); i < job.n_prompt; i += m.team.n_threads()) {
            const std::int32_t token = ring::load_relaxed(&prompt[i]);
            if (token < 0 || token >= a.config.vocab_size) tokens_valid = false;
            a.history[i] = token;
            if (i == job.n_cached) s.token = token;
        }
    }
    // For the other blocks, which look at the job's parameters in device memory.
    constexpr int kWords = sizeof(ring::DecodeJob) / sizeof(std::uint32_t);
    const auto* from = reinterpret_cast<const std::uint32_t*>(&job);
    auto* to = reinterpret_cast<std::uint32_t*>(&a.state->job);
    for (int i = m.team.thread(); i < kWords; i += m.team.n_threads()) ring::store_relaxed(&to[i], from[i]);

    const bool runs = m.team.sync_count(!(fits && tokens_valid)) == 0;
    if (m.team.thread() == 0) {
        if (!runs) {
            finish_job<Team>(a, s, ring::FinishReason::kFault);
        } else if (cancelled == job.id) {
            finish_job<Team>(a, s, ring::FinishReason::kCancelled);
        } else if (job.max_new_tokens == 0 && (job.flags & ring::kJobScore) == 0) {
            finish_job<Team>(a, s, ring::FinishReason::kLength);
        } else {
            s.position = job.n_cached;
            s.active = 1;
        }
    }
    m.team.sync();
}

// What is left to wait for when no job is active, and for how long.
enum class Waiting { kNot, kUntilIdle };

// Makes a job active, or says that the grid leaves. Block 0; with kNot it looks once and returns.
template <class M>
VIGIL_DEVICE void direct(M& m, const KernelArgs& a, Waiting waiting) {
    using Team = typename M::Team;
    DecodeState& s = *leader_state(m);
    std::uint32_t* decision = &m.scratch()->flag;
    enum : std::uint32_t { kNothing, kBegin, kLeave };
    std::uint64_t idle_since = 0;
    bool said_idle = false;
    while (s.active == 0) {
        if (m.team.thread() == 0) {
            if (waiting == Waiting::kUntilIdle)
                ring::store_relaxed(&a.status->state, static_cast<std::uint32_t>(ring::KernelState::kIdle));
            said_idle = true;
            *decision = kNothing;
            for (std::uint32_t spins = 0; *decision == kNothing; ++spins) {
                // On their way while the slot is looked at: one trip across PCIe per round, not two.
                const HostWords host = request_host_words(a, s);
                // A job that is taken must be able to say how it ended.
                if (room_for_events<Team>(a, s, 1, false) && take_job<Team>(a, s)) {
                    *decision = kBegin;
                } else if (waiting == Waiting::kNot) {
                    break;
                } else {
                    const std::uint64_t now = Team::clock_ns();
                    if (idle_since == 0) idle_since = now;
                    if (host.command != static_cast<std::uint32_t>(ring::Command::kRun) ||
                        now - idle_since > a.idle_park_ns) {
                        s.leave = 1;
                        *decision = kLeave;
                    } else if (lease_lost(m.scratch()->lease, host.lease, now, a.lease_ns)) {
                        leave_with(a, s, ring::Fault::kHostGone);
                        *decision = kLeave;
                    }
                    Team::pause(spins);
                    Team::rest(spins);
                }
            }
        }
        m.team.sync();
        const std::uint32_t decided = *decision;
        m.team.sync();
        if (decided != kBegin) return;
        begin_job(m, a);
        idle_since = 0;
    }
    if (said_idle) ring::store_relaxed(&a.status->state, static_cast<std::uint32_t>(ring::KernelState::kDecoding));
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
    if (t.wants_logits) {
        const bool scoring = (s.job.flags & ring::kJobScore) != 0;
        if (!scoring) {
            choice = choose_token(m, a, s.job.sampling, t.position);
            if (s.job.n_alternatives > 0) alternatives = most_probable(m, a, s.job.n_alternatives, choice.log_sum_exp);
        } else if (t.position + 1 < s.job.n_prompt) {
            choice = score_token(m, a, ring::load_relaxed(&a.history[t.position + 1]));
        }
    }
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
