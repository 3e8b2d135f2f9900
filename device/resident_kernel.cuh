// The loop that stays on the machine: wait for a job, decode its tokens, wait again; leave when told to, when idle for
// long, when the host is gone, or when a wait outlasts its deadline. All state is in device memory, so the next launch
// goes on where this one left.
//
// Between two tokens only block 0 works: it ends the token, takes the next job if there is none, and then arrives.
// DecodeState is written only there, when every other block waits, and read only after that exchange.
#pragma once

#include "device/layer.cuh"
#include "device/leader.cuh"

namespace vigil::device {

template <class M>
VIGIL_DEVICE void resident_loop(M& m, const KernelArgs& a) {
    const bool is_leader_block = m.team.block() == 0;
    const bool is_leader = is_leader_block && m.team.thread() == 0;
    if (m.team.thread() == 0) {
        m.scratch()->failed = 0;
        m.scratch()->target = 0;
    }
    m.team.sync();

    // Nobody starts before all blocks are there: co-residency is what every later wait relies on.
    m.arrive();
    m.await(ring::Phase::kArrival);

    Lease lease;
    if (is_leader_block && !m.failed()) {
        if (is_leader) {
            ring::store_relaxed(&a.state->leave, 0);
            ring::store_relaxed(&a.status->fault, static_cast<std::uint32_t>(ring::Fault::kNone));
            ring::store_relaxed(&a.status->launches, ring::load_relaxed(&a.status->launches) + 1);
        }
        m.team.sync();
        direct(m, a, lease, Waiting::kUntilIdle);
    }
    m.arrive();

    HostWords host{};
    for (;;) {
        m.await_directive(a);
        const TokenContext t = read_context(a);
        if (m.failed() || t.leave || !t.active) break;
        decode_layers(m, a, t);
        if (is_leader) host = request_host_words(a);
        if (t.wants_logits) {
            logits(m, a, t);
            // Every block waits for the logits, not only the one that reads them: one that went straight on would
            // arrive a second time and be counted in place of another that is still at work.
            m.await(ring::Phase::kSample);
        }
        if (is_leader_block && !m.failed()) {
            finish_token(m, a, t, host, true);
            if (is_leader) {
                if (host.command != static_cast<std::uint32_t>(ring::Command::kRun))
                    ring::store_relaxed(&a.state->leave, 1);
                if (lease_lost(lease, host.lease, M::Team::clock_ns(), a.lease_ns))
                    leave_with(a, ring::Fault::kHostGone);
            }
            m.team.sync();
            if (ring::load_relaxed(&a.state->leave) == 0 && !m.failed()) direct(m, a, lease, Waiting::kUntilIdle);
        }
        m.arrive();
    }
    if (is_leader) {
        if (m.failed()) ring::store_relaxed(&a.status->fault, static_cast<std::uint32_t>(ring::Fault::kDeadline));
        // Pairs with the supervisor's load_acquire.
        ring::store_release(&a.status->state, static_cast<std::uint32_t>(m.failed() ? ring::KernelState::kFaulted
                                                                                    : ring::KernelState::kParked));
    }
}

}  // namespace vigil::device
