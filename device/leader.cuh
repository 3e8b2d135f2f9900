// The leader, block 0 and in it thread 0, speaks with the host: takes jobs, emits events, decides at each token
// boundary whether the grid goes on. It is the only writer of DecodeState and of the pinned words the kernel owns.
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

VIGIL_DEVICE std::uint32_t job_slot(const KernelArgs& a) {
    return a.state->next_job & (a.job_capacity - 1);
}

VIGIL_DEVICE HostWords request_host_words(const KernelArgs& a) {
    return {ring::load_relaxed(&a.control->command), ring::load_relaxed(&a.control->lease),
            ring::load_relaxed(&a.job_cancel[job_slot(a)])};
}

// When the host was last seen alive.
struct Lease {
    std::uint32_t seen = 0;
    std::uint64_t since_ns = 0;
};

VIGIL_DEVICE bool lease_lost(Lease& lease, std::uint32_t word, std::uint64_t now, std::uint64_t limit_ns) {
    if (lease.since_ns == 0 || word != lease.seen) lease = {word, now};
    return now - lease.since_ns > limit_ns;
}

VIGIL_DEVICE void leave_with(const KernelArgs& a, ring::Fault fault) {
    ring::store_relaxed(&a.status->fault, static_cast<std::uint32_t>(fault));
    ring::store_relaxed(&a.state->leave, 1);
}

// The ring has room for `n` more events. Waiting is bounded: a host that does not drain the ring makes the kernel leave
// with nothing lost, since the token is decided again when it comes back.
template <class Team>
VIGIL_DEVICE bool room_for_events(const KernelArgs& a, std::uint32_t n, bool may_wait) {
    DecodeState* s = a.state;
    std::uint64_t give_up = 0;
    for (std::uint32_t spins = 0; s->next_event + n - s->events_consumed > a.event_capacity; ++spins) {
        // Pairs with the completion side's store_release after it has read the slots.
        s->events_consumed = ring::load_acquire(&a.control->events_consumed);
        if (s->next_event + n - s->events_consumed <= a.event_capacity) break;
        const std::uint64_t now = Team::clock_ns();
        if (give_up == 0) give_up = now + a.deadline_ns;
        if (!may_wait || now > give_up) return false;
        Team::pause(spins);
    }
    return true;
}

template <class Team>
VIGIL_DEVICE void emit(const KernelArgs& a, ring::EventKind kind, ring::FinishReason reason, int token, float logprob) {
    DecodeState* s = a.state;
    ring::TokenEvent e;
    e.kind = kind;
    e.reason = reason;
    e.job = static_cast<std::uint16_t>(s->job.id & 0xffffu);
    e.token = token;
    e.logprob = logprob;
    e.time_ns = Team::clock_ns();
    ring::encode(&a.event_slots[s->next_event & (a.event_capacity - 1)], e, s->next_event + 1);
    ++s->next_event;
    ++s->n_events;
}

template <class Team>
VIGIL_DEVICE void finish_job(const KernelArgs& a, ring::FinishReason reason) {
    DecodeState* s = a.state;
    // The logits rows of all blocks are in host memory before the event that says so.
    if ((s->job.flags & ring::kJobEmitLogits) != 0) ring::fence_system();
    emit<Team>(a, ring::EventKind::kFinished, reason, static_cast<int>(s->n_events), 0.0f);
    ring::store_relaxed(&s->active, 0);
    ++s->next_job;
    // From here the host may fill the slot again: pairs with load_acquire in the job ring's Producer.
    ring::store_release(&a.status->jobs_consumed, s->next_job);
}

// The leader takes the next job if there is one. True if a job's prompt is to be copied.
template <class Team>
VIGIL_DEVICE bool take_job(const KernelArgs& a) {
    DecodeState* s = a.state;
    ring::JobConsumer jobs(a.job_slots, a.job_capacity, s->next_job);
    if (!jobs.try_pop(&s->job)) return false;
    if (s->job.kv_rows == 0) s->job.kv_rows = a.config.max_seq_len - s->job.kv_first;
    s->n_generated = 0;
    s->n_events = 0;
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
    const ring::DecodeJob& job = a.state->job;
    const bool fits = job_fits(a, job);
    const std::uint64_t cancelled = ring::load_relaxed(&a.job_cancel[job_slot(a)]);  // travels beside the prompt
    bool tokens_valid = true;
    if (fits) {
        const std::int32_t* prompt = a.job_tokens + static_cast<std::size_t>(job_slot(a)) * a.config.max_seq_len;
        for (int i = m.team.thread(); i < job.n_prompt; i += m.team.n_threads()) {
            const std::int32_t token = ring::load_relaxed(&prompt[i]);
            if (token < 0 || token >= a.config.vocab_size) tokens_valid = false;
            a.history[i] = token;
        }
    }
    const bool runs = m.team.sync_count(!(fits && tokens_valid)) == 0;
    if (m.team.thread() == 0) {
        DecodeState* s = a.state;
        if (!runs) {
            finish_job<typename M::Team>(a, ring::FinishReason::kFault);
        } else if (cancelled == job.id) {
            finish_job<typename M::Team>(a, ring::FinishReason::kCancelled);
        } else if (job.max_new_tokens == 0 && (job.flags & ring::kJobScore) == 0) {
            finish_job<typename M::Team>(a, ring::FinishReason::kLength);
        } else {
            ring::store_relaxed(&s->position, job.n_cached);
            ring::store_relaxed(&s->active, 1);
        }
    }
    m.team.sync();
}

// What is left to wait for when no job is active, and for how long.
enum class Waiting { kNot, kUntilIdle };

// Makes a job active, or says that the grid leaves. Block 0; with kNot it looks once and returns.
template <class M>
VIGIL_DEVICE void direct(M& m, const KernelArgs& a, Lease& lease, Waiting waiting) {
    using Team = typename M::Team;
    std::uint32_t* decision = &m.scratch()->flag;
    enum : std::uint32_t { kNothing, kBegin, kLeave };
    std::uint64_t idle_since = 0;
    while (ring::load_relaxed(&a.state->active) == 0) {
        if (m.team.thread() == 0) {
            if (waiting == Waiting::kUntilIdle)
                ring::store_relaxed(&a.status->state, static_cast<std::uint32_t>(ring::KernelState::kIdle));
            *decision = kNothing;
            for (std::uint32_t spins = 0; *decision == kNothing; ++spins) {
                // On their way while the slot is looked at: one trip across PCIe per round, not two.
                const HostWords host = request_host_words(a);
                // A job that is taken must be able to say how it ended.
                if (room_for_events<Team>(a, 1, false) && take_job<Team>(a)) {
                    *decision = kBegin;
                } else if (waiting == Waiting::kNot) {
                    break;
                } else {
                    const std::uint64_t now = Team::clock_ns();
                    if (idle_since == 0) idle_since = now;
                    if (host.command != static_cast<std::uint32_t>(ring::Command::kRun) ||
                        now - idle_since > a.idle_park_ns) {
                        ring::store_relaxed(&a.state->leave, 1);
                        *decision = kLeave;
                    } else if (lease_lost(lease, host.lease, now, a.lease_ns)) {
                        leave_with(a, ring::Fault::kHostGone);
                        *decision = kLeave;
                    }
                    Team::pause(spins);
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
    if (m.team.thread() == 0)
        ring::store_relaxed(&a.status->state, static_cast<std::uint32_t>(ring::KernelState::kDecoding));
}

VIGIL_DEVICE bool is_stop_token(const ring::DecodeJob& job, int token) {
    if ((job.flags & ring::kJobIgnoreEos) != 0) return false;
    for (std::uint32_t i = 0; i < job.n_stop_tokens; ++i)
        if (job.stop_tokens[i] == token) return true;
    return false;
}

// Thread 0 of block 0 moves the state on by one token. `choice` and the job's `alternatives` count only if this token
// wanted logits.
template <class Team>
VIGIL_DEVICE void advance(const KernelArgs& a, const TokenContext& t, const Choice& choice,
                          const Alternative* alternatives, const HostWords& host, bool may_wait) {
    DecodeState* s = a.state;
    const ring::DecodeJob& job = s->job;
    const bool scoring = (job.flags & ring::kJobScore) != 0;
    if (!room_for_events<Team>(a, events_per_token(job), may_wait)) {
        // Under launch dispatch the host simply runs the token again once it has read events.
        if (may_wait) leave_with(a, ring::Fault::kEventRingFull);
        return;
    }
    ring::store_relaxed(&a.status->tokens, ring::load_relaxed(&a.status->tokens) + 1);
    auto reason = ring::FinishReason::kNone;
    const int next = t.position + 1;
    if (host.cancelled_job == job.id) {
        reason = ring::FinishReason::kCancelled;
    } else if (scoring) {
        if (next < job.n_prompt)
            emit<Team>(a, ring::EventKind::kScore, reason, choice.token, choice.logprob);
        else
            reason = ring::FinishReason::kLength;
    } else if (t.wants_logits) {
        for (int i = 0; i < job.n_alternatives; ++i)
            emit<Team>(a, ring::EventKind::kAlternative, reason, alternatives[i].token, alternatives[i].logprob);
        emit<Team>(a, ring::EventKind::kToken, reason, choice.token, choice.logprob);
        ++s->n_generated;
        ring::store_relaxed(&a.history[next], choice.token);
        if (is_stop_token(job, choice.token))
            reason = ring::FinishReason::kStopToken;
        else if (s->n_generated >= job.max_new_tokens || next >= job.kv_rows)
            reason = ring::FinishReason::kLength;
    }
    ring::store_relaxed(&s->position, next);
    if (reason != ring::FinishReason::kNone) finish_job<Team>(a, reason);
}

// The end of a token: chooses or scores, moves on. Block 0; the others go straight to the next exchange.
//   reads      tiles, scores, logits
//   writes     history, DecodeState, the event ring
//   needs      the tiles of all blocks in place, if this token wants logits
template <class M>
VIGIL_DEVICE void finish_token(M& m, const KernelArgs& a, const TokenContext& t, const HostWords& host, bool may_wait) {
    Choice choice{0, 0.0f, 0.0f};
    const Alternative* alternatives = nullptr;
    if (t.wants_logits) {
        const bool scoring = (a.state->job.flags & ring::kJobScore) != 0;
        const int n_alternatives = a.state->job.n_alternatives;
        if (!scoring) {
            choice = choose_token(m, a, t.position);
            if (n_alternatives > 0) alternatives = most_probable(m, a, n_alternatives, choice.log_sum_exp);
        } else if (t.position + 1 < a.state->job.n_prompt) {
            choice = score_token(m, a, ring::load_relaxed(&a.history[t.position + 1]));
        }
    }
    if (m.team.thread() == 0) advance<typename M::Team>(a, t, choice, alternatives, host, may_wait);
    m.team.sync();
}

}  // namespace vigil::device
