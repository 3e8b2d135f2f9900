// A Machine is what a phase runs on: a Team and an Exchange, with the block's scratch laid out.
//
// Exchange is the only way phases hand values to each other. Within a token a block publishes its share of a vector
// word by word, and each word says itself that it is new: its two lowest bits are the epoch, which counts the uses of
// that vector. A reader looks at the words until all of them carry the epoch that it waits for: no barrier, no fence,
// and no order among the words is needed. It costs 2^-22 of a value's precision. Between tokens there is one barrier,
// which orders everything else (the KV cache, the logits). Under launch and graph dispatch the end of one kernel and
// the begin of the next order everything, and nobody waits.
//
// One buffer per vector is enough: whoever writes a vector again has read, in between, a vector to which every block
// contributed after its last look at the first one. Hence every block owns at least one row of the residual, of qkv and
// of hidden; the grid plan sees to it.
#pragma once

#include <cstdint>

#include "device/model.h"
#include "device/seams/qualifiers.h"

namespace vigil::device {

// What every block must know of the token under way.
struct TokenContext {
    bool active;
    bool leave;
    bool wants_logits;  // this token's logits are sampled or scored
    int position;       // of the token that is fed
    int token;
    int kv_first;        // row of the KV cache that holds position 0
    std::uint32_t pass;  // tokens fed before it
    int n_generated;     // by this job, before it
};

// The words of SyncWords::directive: token, flags, position, kv_first, passes, n_generated.
constexpr int kDirectiveWords = sizeof(SyncWords::directive) / sizeof(std::uint64_t);
enum : std::uint32_t { kDirectiveActive = 1, kDirectiveLeave = 2, kDirectiveWantsLogits = 4 };

// When the host was last seen alive.
struct Lease {
    std::uint32_t seen = 0;
    std::uint64_t since_ns = 0;
};

// The host's words as the leader last saw them.
struct HostWords {
    std::uint32_t command;
    std::uint32_t lease;
    std::uint64_t cancelled_job;
};

// The block's place in the timeline (--trace). Thread 0's.
struct Timeline {
    TraceRecord* next;  // null: this token is not recorded
    std::int32_t left;  // records
    std::uint64_t begin_ns;
    std::uint64_t gathered_ns;  // when the phase under way had its input
};

// The share [begin, end) of `n` items that falls to part `part` of `parts`; shares differ by at most one.
// n * parts fits into 32 bits: rows of a matrix times blocks.
struct Range {
    int begin;
    int end;
};
VIGIL_DEVICE Range share(int n, int part, int parts) {
    const auto at = [&](int p) {
        return static_cast<int>(static_cast<std::uint32_t>(n) * static_cast<std::uint32_t>(p) /
                                static_cast<std::uint32_t>(parts));
    };
    return {at(part), at(part + 1)};
}

// What falls to this block of the vectors that are shared out by rows: the same for all layers and tokens.
struct BlockShares {
    Range qkv, heads, residual, hidden;
};

constexpr int kMaxWarps = 32;

// How the attention of a token is shared out: the same for all layers, and too many divisions to do them in each.
struct AttentionShape {
    int n_splits;      // parts of the KV length …
    int split_length;  // … and positions of each but the last
    int per_group;     // query heads that share a KV head
    int lanes;         // that cover a row of K or V, a power of two, eight columns per lane and chunk
    int lanes_log2;
    int chunks;                      // per lane
    int n_passes;                    // over K and V, a few query heads of a group each
    int at_once;                     // passes that run side by side
    int warps_each;                  // warps of one pass
    int first_kv_head, first_split;  // of the block's first item
    int slot[kMaxWarps];             // of each warp: which of the passes side by side it works on …
    int warp_of_pass[kMaxWarps];     // … and the how manieth it is there
};

// What a wait needs to know to give up.
struct Patience {
    SyncWords* sync;
    ring::BlockFault* fault;  // this block's
    std::uint64_t deadline_ns;
};

// Head of the block-shared scratch. The phases' own area follows it.
struct alignas(128) BlockScratch {
    std::uint32_t failed;           // a wait of this block ended by deadline or abort: leave at the next token boundary
    std::uint32_t flag;             // one value from the leader thread to its block
    std::uint32_t arrivals_wanted;  // at which the current token is complete
    std::uint32_t directives;       // the number of the last one seen
    TokenContext context;
    Patience patience;
    float reduce[kMaxWarps];  // one per warp
    // What every layer looks up, fetched while the block waits for something else. Layer i is in slot i & 1.
    LayerWeights layers[2];
    AttentionShape attention;
    BlockShares shares;
    Tensor output[2];         // the output matrix, from the block's first half of rows and from its second
    float rope[kMaxHeadDim];  // sine and cosine of this position, pair by pair
    Timeline timeline;
    // Of block 0 alone. The leader is last since it lies on a line of its own.
    Lease lease;
    HostWords host;              // seen while there was no job, the last time beside the job itself
    std::uint64_t job_taken_ns;  // when that was; 0: not since the kernel came
    DecodeState leader;
};

constexpr std::uint32_t kEpochMask = 3;

// A value on its way between blocks, and back. What is not a number stays none, infinities stay infinite.
VIGIL_DEVICE std::uint32_t tagged(float v, std::uint32_t epoch) {
    return (ring::float_bits(v) & ~kEpochMask) | (epoch & kEpochMask);
}
VIGIL_DEVICE float untagged(std::uint32_t word) {
    return ring::bits_float(word & ~kEpochMask);
}

// Four neighbouring words of a published vector.
struct alignas(16) Quad {
    std::uint32_t word[4];

    VIGIL_DEVICE bool carries(std::uint32_t epoch) const {
        return (((word[0] ^ epoch) | (word[1] ^ epoch) | (word[2] ^ epoch) | (word[3] ^ epoch)) & kEpochMask) == 0;
    }
};

// What a wait is for, to be told if it lasts too long.
struct Awaited {
    ring::Phase phase;
    std::int32_t layer;
    std::uint32_t epoch;
};

// Whether a wait looks at the clock, too, behind its look number `spins`.
VIGIL_DEVICE bool looks_at_clock(std::uint32_t spins) {
    return spins % 256 == 255;
}

// Order between kernels comes from the stream.
template <class Team>
struct LaunchExchange {
    static constexpr bool kWaits = false;
    VIGIL_DEVICE bool keeps_waiting(const Team&, BlockScratch*, std::uint32_t, std::uint64_t&, const Awaited&,
                                    std::uint32_t, std::uint64_t) {
        return false;
    }
    VIGIL_DEVICE void arrive(const Team&, BlockScratch*) {}
    VIGIL_DEVICE void await_all(const Team&, BlockScratch*, ring::Phase) {}
};

// Between the blocks of a resident grid.
template <class Team>
struct ResidentExchange {
    static constexpr bool kWaits = true;

    // Where waits find what they need, for all of the block: not in the kernel's arguments, which a function that is
    // not inlined can't see.
    VIGIL_DEVICE static Patience patience(const Team& team, const KernelArgs& args) {
        return {args.sync, &args.faults[team.block()], args.deadline_ns};
    }

    // To be asked after each look at something that is not there yet, `spins` counting from 0: false when the deadline,
    // `allowance_ns` longer than usual, is over or another block has given up.
    VIGIL_DEVICE bool keeps_waiting(const Team&, BlockScratch* scratch, std::uint32_t spins, std::uint64_t& give_up,
                                    const Awaited& awaited, std::uint32_t seen, std::uint64_t allowance_ns) {
        Team::pause(spins);
        if (!looks_at_clock(spins)) return true;
        give_up = look_at_clock(scratch, allowance_ns, give_up, spins, awaited, seen);
        return give_up != 0;
    }

    // This block has done all of a token.
    VIGIL_DEVICE void arrive(const Team& team, BlockScratch* scratch) {
        team.sync();  // every thread's stores come before the release
        if (team.thread() == 0) team.add_release(&scratch->patience.sync->arrivals, 1);
    }

    // All blocks have arrived once more than at the last call. What they wrote is visible to the block that waits.
    VIGIL_DEVICE void await_all(const Team& team, BlockScratch* scratch, ring::Phase phase) {
        if (team.thread() == 0 && !scratch->failed) {
            scratch->arrivals_wanted += static_cast<std::uint32_t>(team.n_blocks());
            const Awaited awaited{phase, -1, scratch->arrivals_wanted};
            std::uint64_t give_up = 0;
            for (std::uint32_t spins = 0;; ++spins) {
                // Pairs with add_release in arrive. The difference is signed so that the counter may wrap.
                const std::uint32_t seen = ring::load_acquire_device(&scratch->patience.sync->arrivals);
                if (static_cast<std::int32_t>(seen - awaited.epoch) >= 0) break;
                if (!keeps_waiting(team, scratch, spins, give_up, awaited, seen, 0)) break;
            }
        }
        team.sync();
    }

   private:
    // Now and then during a wait. Returns when to give up, or 0 if that is now. The block that gives up first says why;
    // the others leave when they see the abort word.
    static VIGIL_DEVICE_COLD std::uint64_t look_at_clock(BlockScratch* scratch, std::uint64_t allowance_ns,
                                                         std::uint64_t give_up, std::uint32_t spins, Awaited awaited,
                                                         std::uint32_t seen) {
        const Patience& p = scratch->patience;
        Team::rest(spins);
        const bool aborted = ring::load_relaxed(&p.sync->abort) != 0;
        const std::uint64_t now = Team::clock_ns();
        if (give_up == 0) give_up = now + p.deadline_ns + allowance_ns;
        if (!aborted && now < give_up) return give_up;
        ring::store_relaxed(&scratch->failed, 1u);
        if (aborted) return 0;
        ring::store_relaxed(&p.fault->phase, static_cast<std::uint32_t>(awaited.phase));
        ring::store_relaxed(&p.fault->layer, awaited.layer);
        ring::store_relaxed(&p.fault->expected, awaited.epoch);
        ring::store_relaxed(&p.fault->seen, seen);
        // Pairs with the supervisor's load_acquire after the kernel has left.
        ring::store_release(&p.fault->fault, static_cast<std::uint32_t>(ring::Fault::kDeadline));
        ring::store_relaxed(&p.sync->abort, 1u);
        return 0;
    }
};

template <class TeamT, class ExchangeT>
struct Machine {
    using Team = TeamT;
    TeamT team;
    ExchangeT exchange;

    VIGIL_DEVICE BlockScratch* scratch() const { return reinterpret_cast<BlockScratch*>(team.shared); }
    // The phases' area of the block-shared scratch, 64-byte aligned.
    VIGIL_DEVICE float* area() const { return reinterpret_cast<float*>(team.shared + sizeof(BlockScratch)); }

    // The timeline: a token begins, a phase has its input, a phase is over. Where nothing is traced, a look at a kernel
    // argument is all it costs.
    VIGIL_DEVICE void trace_token(const KernelArgs& a, const TokenContext& t) const {
        if (a.trace == nullptr || team.thread() != 0) return;
        Timeline& line = scratch()->timeline;
        line.next = t.wants_logits ? trace_record(a, team.block(), t.n_generated, 0) : nullptr;
        line.left = a.trace_capacity;
        line.begin_ns = Team::clock_ns();
        line.gathered_ns = line.begin_ns;
    }
    VIGIL_DEVICE void trace_gathered(const KernelArgs& a) const {
        if (a.trace == nullptr) return;
        // Keeps the compiler from doing all of this under a predicate: what counts is what it costs untraced.
        team.sync_warp();
        if (team.thread() == 0) scratch()->timeline.gathered_ns = Team::clock_ns();
    }
    VIGIL_DEVICE void trace_phase(const KernelArgs& a, const TokenContext& t, ring::Phase phase, int layer) const {
        if (a.trace == nullptr || team.thread() != 0) return;
        Timeline& line = scratch()->timeline;
        if (line.next == nullptr || line.left == 0) return;
        TraceRecord r;
        r.begin_ns = line.begin_ns;
        r.end_ns = Team::clock_ns();
        r.wait_ns = static_cast<std::uint32_t>(line.gathered_ns - line.begin_ns);
        r.token = t.n_generated;
        r.layer = static_cast<std::int16_t>(layer);
        r.phase = static_cast<std::uint16_t>(phase);
        r.sm = team.multiprocessor();
        *line.next++ = r;
        --line.left;
        line.begin_ns = r.end_ns;
        line.gathered_ns = r.end_ns;
    }

    // The barrier between tokens, from both sides.
    VIGIL_DEVICE void arrive() { exchange.arrive(team, scratch()); }
    VIGIL_DEVICE void await_all(ring::Phase phase) { exchange.await_all(team, scratch(), phase); }
    // What comes next, once the leader has said it. The block's threads must all call. `allowance_ns`: the leader may
    // be idle meanwhile, or wait for room in the event ring.
    VIGIL_DEVICE const TokenContext& await_directive(const KernelArgs& a) {
        BlockScratch* s = scratch();
        if (team.thread() == 0 && !s->failed) {
            const Awaited awaited{ring::Phase::kDirective, -1, s->directives + 1};
            const std::uint64_t* from = a.sync->directive;
            std::uint64_t give_up = 0;
            std::uint64_t words[kDirectiveWords];
            for (std::uint32_t spins = 0;; ++spins) {
                bool complete = true;
                VIGIL_UNROLL
                for (int i = kDirectiveWords - 1; i > 0; --i) words[i] = ring::load_relaxed(&from[i]);
                words[0] = ring::load_acquire_device(&from[0]);  // pairs with publish_directive
                VIGIL_UNROLL
                for (int i = 0; i < kDirectiveWords; ++i)
                    complete = complete && static_cast<std::uint32_t>(words[i]) == awaited.epoch;
                if (complete) break;
                if (!exchange.keeps_waiting(team, s, spins, give_up, awaited, static_cast<std::uint32_t>(words[0]),
                                            a.idle_park_ns + a.deadline_ns + a.lease_ns))
                    break;
            }
            const auto value = [&](int i) { return static_cast<std::uint32_t>(words[i] >> 32); };
            s->directives = awaited.epoch;
            TokenContext& t = s->context;
            t.token = static_cast<int>(value(0));
            t.active = (value(1) & kDirectiveActive) != 0;
            t.leave = (value(1) & kDirectiveLeave) != 0;
            t.wants_logits = (value(1) & kDirectiveWantsLogits) != 0;
            t.position = static_cast<int>(value(2));
            t.kv_first = static_cast<int>(value(3));
            t.pass = value(4);
            t.n_generated = static_cast<int>(value(5));
        }
        team.sync();
        return s->context;
    }
    VIGIL_DEVICE bool failed() const { return ring::load_relaxed(&scratch()->failed) != 0; }

    // A word of a vector that all blocks read, in both replicas where there are two. A block that writes a word again
    // knows that the last value is in the replicas that were read since. In one that nobody has read it may in theory
    // be on its way still, three exchanges later; then its epoch is one that is waited for in vain, never a wrong
    // value.
    VIGIL_DEVICE void publish(float* to, float value, std::uint32_t epoch) const {
        publish_once(to, value, epoch);
        if (Team::kReplicaFloats != 0) publish_once(to + Team::kReplicaFloats, value, epoch);
    }
    // A word of attention's parts, of which there is one replica: few blocks read them.
    VIGIL_DEVICE void publish_once(float* to, float value, std::uint32_t epoch) const {
        Team::store_word(to, tagged(value, epoch));
    }

    // Four words after a first look at them, once all carry the epoch. After a wait that failed they are whatever is
    // there.
    VIGIL_DEVICE Quad complete4(Quad quad, const float* from, const Awaited& awaited) {
        if (!ExchangeT::kWaits) return quad;
        std::uint64_t give_up = 0;
        for (std::uint32_t spins = 0; !quad.carries(awaited.epoch); ++spins) {
            if (!exchange.keeps_waiting(team, scratch(), spins, give_up, awaited, quad.word[0], 0)) break;
            quad = Team::load_quad(from);
        }
        return quad;
    }
    // One word, likewise.
    VIGIL_DEVICE float complete(std::uint32_t word, const float* from, const Awaited& awaited) {
        if (!ExchangeT::kWaits) return untagged(word);
        std::uint64_t give_up = 0;
        for (std::uint32_t spins = 0; ((word ^ awaited.epoch) & kEpochMask) != 0; ++spins) {
            if (!exchange.keeps_waiting(team, scratch(), spins, give_up, awaited, word, 0)) break;
            word = Team::load_word(from);
        }
        return untagged(word);
    }
    // N words, the i-th at from(i): all are looked at again until all are there, since one after the other each might
    // cost a trip.
    template <int N, class From>
    VIGIL_DEVICE void take(float (&x)[N], const Awaited& awaited, From&& from) {
        std::uint64_t give_up = 0;
        for (std::uint32_t spins = 0;; ++spins) {
            std::uint32_t different = 0;
            std::uint32_t seen = 0;
            VIGIL_UNROLL
            for (int i = 0; i < N; ++i) {
                seen = Team::load_word(from(i));
                different |= seen ^ awaited.epoch;
                x[i] = untagged(seen);
            }
            if (!ExchangeT::kWaits || (different & kEpochMask) == 0) return;
            if (!exchange.keeps_waiting(team, scratch(), spins, give_up, awaited, seen, 0)) return;
        }
    }
};

// The sum of one value per warp in shared memory: by all lanes at once instead of one after the other.
template <class M>
VIGIL_DEVICE float sum_of_warps(const M& m, const float* per_warp) {
    float total = 0.0f;
    for (int w = m.team.lane(); w < m.team.n_warps(); w += M::Team::kWarpSize) total += per_warp[w];
    return m.team.lane_sum(total);
}

// Sum over the block in a fixed order; every thread gets the result. The block's threads must all call.
template <class M>
VIGIL_DEVICE float block_sum(const M& m, float v) {
    v = m.team.lane_sum(v);
    float* per_warp = m.scratch()->reduce;
    if (m.team.lane() == 0) per_warp[m.team.warp()] = v;
    m.team.sync();
    const float total = sum_of_warps(m, per_warp);
    m.team.sync();
    return total;
}

}  // namespace vigil::device
