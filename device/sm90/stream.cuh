// The weight stream: one thread brings a block's weights into shared memory, in the static order in which the block
// will multiply them, without ever waiting for an activation. A ring of stages takes them; the consumers free a stage
// when its last chunk is read.
//
// The order is a list of runs, made once per launch: a run is some tiles of one matrix, consumed between two barriers
// of the block. The producer goes through the list token after token. At the end of the layers it has to know whether
// the token's logits are wanted, which it is told; with everything else it runs ahead, over layers and tokens, until
// the ring is full. Only so many stages are on their way at once as the run says: more would queue up in the memory
// system and slow down the exchange that everyone waits for.
//
// A consumer waits for a stage's use n by parity, and must not mistake use n - 2 for it: use n - 1 has to be complete
// when anyone looks for n. Copies complete in any order, but the producer starts one only when the copy
// max_copies_in_flight before it is complete. A warp that looks for a use has read, since the last barrier of the
// block, the one a round of warps before it or nothing, so a ring longer than a round and the copies in flight
// suffices; the plan sees to it.
#pragma once

#include "device/sm90/ptx.cuh"
#include "device/sm90/stream_memory.h"
#include "device/sm90/team.cuh"

namespace vigil::device::sm90 {

// At a stage's empty barrier: the first of its chunks arrives for those that it lacks.
constexpr int kArrivals = 1 << tiles::kMaxStageLog2;
// Lanes of a warp that say that it has read a chunk, prepared a group of the input, or left or read what a norm wants.
constexpr int kArrivingLanes = kForRacecheck ? 32 : 1;

VIGIL_DEVICE StreamControl* control(const Team& team) {
    return reinterpret_cast<StreamControl*>(team.shared - sizeof(StreamControl));
}
VIGIL_DEVICE Run* run_list(const Team& team, const GridPlan& plan) {
    return reinterpret_cast<Run*>(team.shared - sizeof(StreamControl) + StreamMemory(plan).runs);
}
VIGIL_DEVICE Shared phase_shape(const StreamControl* c, ring::Phase phase) {
    return shared_address(c->phases) + static_cast<Shared>(sizeof(PhaseShape)) *
                                           (static_cast<Shared>(phase) - static_cast<Shared>(ring::Phase::kQkv));
}
template <class T>
VIGIL_DEVICE T* load_shared_pointer(Shared at) {
    const uint2 words = load_shared8(at);
    T* pointer;
    memcpy(&pointer, &words, sizeof pointer);
    return pointer;
}
// The first half of a phase's shape, for its beginning, and the second, for its end.
VIGIL_DEVICE PhaseInput load_phase_input(const StreamControl* c, ring::Phase phase) {
    const uint4 words = load_shared16(phase_shape(c, phase));
    PhaseInput input;
    memcpy(&input, &words, sizeof input);
    return input;
}
VIGIL_DEVICE PhaseResult load_phase_result(const StreamControl* c, ring::Phase phase) {
    const uint4 words = load_shared16(phase_shape(c, phase) + sizeof(PhaseInput));
    PhaseResult result;
    memcpy(&result, &words, sizeof result);
    return result;
}
VIGIL_DEVICE Shared run_address(const StreamControl* c, int index) {
    return c->runs + static_cast<Shared>(index * static_cast<int>(sizeof(Run)));
}
VIGIL_DEVICE Run load_run(Shared at) {
    const uint4 words[2] = {load_shared16(at), load_shared16(at + 16)};
    Run run;
    memcpy(&run, words, sizeof run);
    return run;
}

// At the list's first run. `shared` is what follows the StreamControl.
template <std::uint32_t Kernel>
VIGIL_DEVICE TeamFor<Kernel> make_team(char* shared) {
    TeamFor<Kernel> team;
    team.shared = shared;
    team.stream.begin_at(run_address(control(team), 0));
    return team;
}

VIGIL_DEVICE Shared full_barrier(const StreamControl* c, int stage) {
    return shared_address(&c->full[stage]);
}
VIGIL_DEVICE Shared empty_barrier(const StreamControl* c, int stage) {
    return shared_address(&c->empty[stage]);
}
VIGIL_DEVICE Shared ready_barrier(const StreamControl* c, std::uint32_t index) {
    return shared_address(&c->ready[index]);
}

// One thread, when no consumer is in the middle of a run. Nothing is ordered by it.
VIGIL_DEVICE void say_stop(StreamControl* c) {
    if (kForRacecheck)
        barrier_arrive(shared_address(&c->stopped), 1);
    else
        set_word(&c->stop, 1);
}
VIGIL_DEVICE bool said_stop(StreamControl* c) {
    return kForRacecheck ? barrier_passed(shared_address(&c->stopped), 0) : poll_word(&c->stop) != 0;
}

// One thread, before the block synchronises. `shared` is the block's memory.
VIGIL_DEVICE void init_stream(char* shared, const GridPlan& plan) {
    auto* c = reinterpret_cast<StreamControl*>(shared);
    const StreamMemory at(plan);
    c->stages = shared_address(shared + at.stages);
    c->partials = shared_address(shared + at.partials);
    c->runs = shared_address(shared + at.runs);
    c->n_stages = plan.stream.n_stages;
    c->stage_bytes = plan.stream.stage_bytes;
    for (int i = 0; i < plan.stream.n_stages; ++i) {
        barrier_init(full_barrier(c, i), 1);
        barrier_init(empty_barrier(c, i), kArrivals * kArrivingLanes);
    }
    c->n_ready = (plan.stream.max_cols + kReadyCols - 1) / kReadyCols;
    for (int i = 0; i < c->n_ready; ++i)
        barrier_init(ready_barrier(c, static_cast<std::uint32_t>(i)), kReadyGroups * kArrivingLanes);
    barrier_init(shared_address(&c->squared), tiles::kWarps * kArrivingLanes);
    barrier_init(shared_address(&c->scaled), kArrivingLanes);
    barrier_init(shared_address(&c->heads_ready), tiles::kWarps * kArrivingLanes);
    c->near_half = 0;
    c->n_runs = 0;
    c->first_logits = 0;
    c->token = 0;
    c->stop = 0;
    if (kForRacecheck) barrier_init(shared_address(&c->stopped), 1);
    barrier_init_fence();
}

// What the producer copies. All but kAll are builds for measurements (VIGIL_COPIES): how long a token takes without the
// part that the memory, or even the way from the L2, has in it. Its values are wrong then.
enum class Copies {
    kAll,
    kFromL2,  // of the block's first run, over and over
    kOnce,    // into each stage; afterwards it is said to be full without a copy
};
#ifndef VIGIL_COPIES
#define VIGIL_COPIES kAll
#endif
constexpr Copies kCopies = Copies::VIGIL_COPIES;

// The producer: one thread. Returns when the consumers say stop, with nothing under way; under launch dispatch
// (`one_token`) also at the end of the list.
class Producer {
   public:
    VIGIL_DEVICE Producer(StreamControl* c, std::uint64_t deadline_ns)
        : control_(c),
          stages_(c->stages),
          stage_bytes_(c->stage_bytes),
          n_stages_(c->n_stages),
          deadline_ns_(deadline_ns),
          stop_(anew(shared_address(&c->stop))) {}

    VIGIL_DEVICE void run(bool one_token) {
        if (one_token)
            send(0, control_->n_runs);
        else
            send_tokens(control_->n_runs, control_->first_logits);
        drain();
    }

   private:
    // False if the consumers say stop first.
    template <class Condition>
    VIGIL_DEVICE bool until(Condition&& condition) {
        for (std::uint32_t spins = 0; !condition(); ++spins) {
            if (kForRacecheck ? said_stop(control_) : load_shared4(stop_) != 0) return false;
            CudaTeam::pause(spins);
        }
        return true;
    }

    VIGIL_DEVICE void send_tokens(std::uint32_t n_runs, std::uint32_t first_logits) {
        for (std::uint32_t begun = 1; send(0, first_logits); ++begun) {
            // One word, so no order is needed. If a later token has begun already, this one did not want its logits.
            std::uint32_t token = 0;
            const auto ahead = [&] { return static_cast<std::int32_t>((token / 2 - begun) * 2); };  // of 31 bits
            if (!until([&] { return token = poll_word(&control_->token), ahead() >= 0; })) return;
            if (ahead() == 0 && token % 2 != 0 && !send(first_logits, n_runs)) return;
        }
    }

    VIGIL_DEVICE bool send(std::uint32_t begin, std::uint32_t end) {
        for (std::uint32_t r = begin; r < end; ++r) {
            const Run run = load_run(run_address(control_, static_cast<int>(r)));
            const char* from = run.from;
            if (kCopies == Copies::kFromL2 && measured_.from == nullptr) measured_ = run;
            const std::uint32_t whole = run.chunk_bytes << run.stage_log2;
            std::uint32_t left = run.n_chunks * run.chunk_bytes;
            for (; left > whole; left -= whole, from += whole)
                if (!copy(from, whole, run.copies)) return false;
            if (left > 0 && !copy(from, left, run.copies)) return false;
        }
        return true;
    }

    // `most`: copies that are then on their way.
    VIGIL_DEVICE bool copy(const char* from, std::uint32_t bytes, int most) {
        // The first time round all stages are empty, as if freed by a phase before the first.
        if (!until([&] { return barrier_passed(empty_barrier(control_, stage_), parity_ ^ 1); })) return false;
        while (under_way_ >= most) {
            if (!until([&] { return barrier_passed(full_barrier(control_, oldest_), oldest_parity_); })) return false;
            forget_oldest();
        }
        const Shared barrier = full_barrier(control_, stage_);
        if (kCopies == Copies::kOnce && copied_all_stages_) {
            barrier_arrive(barrier, 1);
        } else {
            barrier_expect(barrier, bytes);
            bulk_copy(stages_ + static_cast<Shared>(stage_ * stage_bytes_), source(from, bytes), bytes, barrier);
        }
        ++under_way_;
        next(stage_, parity_);
        if (kCopies == Copies::kOnce && stage_ == 0) copied_all_stages_ = true;
        return true;
    }

    // Where a stage's bytes are copied from.
    VIGIL_DEVICE const char* source(const char* from, std::uint32_t bytes) const {
        if (kCopies != Copies::kFromL2) return from;
        const auto offset = static_cast<std::uint32_t>(stage_ * stage_bytes_);
        const bool inside = offset + bytes <= measured_.n_chunks * measured_.chunk_bytes;
        return measured_.from + (inside ? offset : 0);
    }

    VIGIL_DEVICE void forget_oldest() {
        --under_way_;
        next(oldest_, oldest_parity_);
    }

    VIGIL_DEVICE void next(int& stage, std::uint32_t& parity) const {
        if (++stage == n_stages_) {
            stage = 0;
            parity ^= 1;
        }
    }

    // Shared memory must not be given back while copies write to it. A copy that never ends is not waited for for ever.
    VIGIL_DEVICE void drain() {
        const std::uint64_t give_up = CudaTeam::clock_ns() + deadline_ns_;
        for (; under_way_ > 0; forget_oldest())
            while (!barrier_passed(full_barrier(control_, oldest_), oldest_parity_))
                if (CudaTeam::clock_ns() > give_up) return;
    }

    StreamControl* control_;
    Shared stages_;
    int stage_bytes_, n_stages_;
    std::uint64_t deadline_ns_;
    // Where the consumers' word is. Worked out at each look it would be, even where nothing is waited for.
    Shared stop_;
    int stage_ = 0, oldest_ = 0, under_way_ = 0;
    std::uint32_t parity_ = 0, oldest_parity_ = 0;
    Run measured_ = {};               // of kFromL2
    bool copied_all_stages_ = false;  // of kOnce
};

}  // namespace vigil::device::sm90
