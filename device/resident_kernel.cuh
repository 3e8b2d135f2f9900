// The loop that stays on the machine: wait for a job, decode its tokens, wait again; leave when told to, when idle for
// long, when the host is gone, or when a wait outlasts its deadline. All state is in device memory, so the next launch
// goes on where this one left.
//
// Between two tokens only block 0 works: once all blocks have arrived it ends the token, takes the next job if there is
// none, and publishes a directive, which the others wait for.
#pragma once

#include "device/layer.cuh"
#include "device/leader.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void resident_loop(M& m, const KernelArgs& a) {
    // Asked anew each time: what is known all along would be kept in a register, or in local memory.
    const auto leads = [&] { return m.team.block() == 0; };
    const auto is_leader = [&] { return leads() && m.team.thread_anew() == 0; };
    DecodeState& state = *leader_state(m);  // true in block 0 only
    if (m.team.thread() == 0) {
        m.scratch()->failed = 0;
        m.scratch()->timeline = {};
        m.scratch()->patience = m.exchange.patience(m.team, a);
        m.scratch()->arrivals_wanted = 0;
        m.scratch()->attention.n_splits = 0;  // no token yet
        // Before arriving: the leader publishes no other until all have.
        m.scratch()->directives = static_cast<std::uint32_t>(ring::load_relaxed(&a.sync->directive[0]));
    }
    prepare_shares(m, a);

    // Nobody starts before all blocks are there: co-residency is what every later wait relies on.
    m.arrive();
    m.await_all(ring::Phase::kArrival);
    if (is_leader()) m.scratch()->lease = {};
    if (leads()) {
        load_state(m, a);
        if (!m.failed()) {
            if (is_leader()) {
                state.leave = 0;
                ring::store_relaxed(&a.status->fault, static_cast<std::uint32_t>(ring::Fault::kNone));
                ring::store_relaxed(&a.status->launches, ring::load_relaxed(&a.status->launches) + 1);
            }
            m.team.sync();
            announce(m, a, true);
        }
    }

    for (;;) {
        const TokenContext& t = m.await_directive(a);
        if (m.failed() || t.leave || !t.active) break;
        decode_token(m, a, t);
        const HostWords host = is_leader() ? request_host_words(a, state) : HostWords{};
        if (t.wants_logits) logits(m, a, t);
        m.trace_phase(a, t, ring::Phase::kLogits, -1);
        m.arrive();
        if (!leads()) continue;
        m.await_all(ring::Phase::kSample);
        if (m.failed()) continue;
        if (is_leader()) {
            if (host.command != static_cast<std::uint32_t>(ring::Command::kRun)) state.leave = 1;
            if (lease_lost(m.scratch()->lease, host.lease, M::Team::clock_ns(), a.lease_ns))
                leave_with(a, state, ring::Fault::kHostGone);
        }
        m.trace_gathered(a);
        const Onward onward = finish_token(m, a, t, host, true, true);
        m.trace_phase(a, t, ring::Phase::kSample, -1);
        if (onward == Onward::kPublished) continue;
        announce(m, a, onward == Onward::kUndecided);
    }
    if (leads()) store_state(m, a);
    if (is_leader()) {
        if (m.failed()) ring::store_relaxed(&a.status->fault, static_cast<std::uint32_t>(ring::Fault::kDeadline));
        // Pairs with the supervisor's load_acquire.
        ring::store_release(&a.status->state, static_cast<std::uint32_t>(m.failed() ? ring::KernelState::kFaulted
                                                                                    : ring::KernelState::kParked));
    }
}

}  // namespace vigil::device
