// Kernels that do one thing the resident kernel is made of, so that it can be timed by itself.
#pragma once

#include <cstdint>

#include "device/model.h"

namespace vigil::device::cuda {

// How blocks hand n floats to each other: each publishes its share, each has all of them in shared memory afterwards.
enum class ExchangeForm {
    barrier,         // the portable exchange of the resident kernel, without any values
    barrier_gather,  // the same barrier, then loads
    flagged_words,   // no barrier: the two lowest mantissa bits of a float carry its epoch, readers poll the floats
};

constexpr std::int32_t kMaxExchangedFloats = 8192;

struct ExchangeProbe {
    ExchangeForm form = ExchangeForm::barrier;
    std::int32_t n_blocks = 1;            // all resident at once
    std::int32_t n_floats = 0;            // a multiple of 4, at most kMaxExchangedFloats
    std::int32_t n_rounds = 0;            // exchanges back to back
    float* values = nullptr;              // [2][kMaxExchangedFloats] device memory
    SyncWords* sync = nullptr;            // device memory
    ring::BlockFault* faults = nullptr;   // [n_blocks] why a wait outlasted its deadline
    std::uint64_t* elapsed_ns = nullptr;  // device memory, one word: all rounds but the first tenth, by block 0's clock
    std::uint32_t* wrong = nullptr;  // device memory, one word: values that were not what their owner had published
};

// What looks at words cost that others may be writing, in host or device memory, again and again on one warp.
enum class LookForm {
    one_thread,  // asks for all words, one load after the other, before it waits for any
    lanes,       // each lane asks for one
};

constexpr std::int32_t kMaxLookedAt = 16;

struct LookProbe {
    LookForm form = LookForm::one_thread;
    std::int32_t n_words = 1;              // a power of two, at most kMaxLookedAt
    std::int32_t stride = 1;               // words from one to the next
    std::int32_t n_rounds = 1;             // each waits for the one before
    const std::uint64_t* words = nullptr;  // all 0
    std::uint64_t* elapsed_ns = nullptr;   // device memory, one word: all rounds
};

// A kernel that only looks at a line of host memory until it has a new number, and answers with it: the least that a
// job without a token can take.
struct AnswerProbe {
    std::int32_t n_rounds = 1;
    const std::uint64_t* words = nullptr;  // pinned, kMaxLookedAt, all looked at; the last one counts the rounds from 1
    std::uint64_t* answer = nullptr;       // pinned; the number of the round that was seen last
};

// Enqueue a kernel on `stream` (a cudaStream_t) and return a cudaError_t, 0 for success. Defined in builds with CUDA.
int launch_exchange(const ExchangeProbe& probe, void* stream);
int launch_looks(const LookProbe& probe, void* stream);
int launch_answers(const AnswerProbe& probe, void* stream);  // it leaves when a round does not come for a second
// One block of one warp that does nothing.
int launch_empty(void* stream);

}  // namespace vigil::device::cuda
