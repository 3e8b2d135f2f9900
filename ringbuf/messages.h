// The wire format between host and kernel: every struct that lives in pinned host memory.
//
// Every word has exactly one writer, named beside it. Nothing here is read-modify-written across PCIe.
// The structs are plain, of fixed size, and the same for every compiler that sees them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ringbuf/ordering.h"

namespace vigil::ring {

constexpr std::uint32_t kMaxStopTokens = 12;
constexpr std::int32_t kMaxAlternatives = 20;  // most probable tokens that an event may be accompanied by
constexpr std::uint64_t kTimeMask = (std::uint64_t{1} << 48) - 1;  // an event's clock wraps after 78 hours

// The largest event ring. An event's fourth word has only 16 bits of the sequence number, and a slot's sequence numbers
// are a capacity apart: from 2^16 on, a word of the lap before, or of a slot never written, would pass for new.
constexpr std::uint32_t kMaxEventCapacity = 1u << 15;

// How the next token is chosen. Names, meaning and order of application follow llama.cpp:
// penalties, top-k, top-p, min-p, temperature.
struct SamplingParams {
    float temperature = 0.8f;  // ≤ 0: greedy
    std::int32_t top_k = 40;   // ≤ 0: off
    float top_p = 0.95f;       // ≥ 1: off
    float min_p = 0.05f;       // ≤ 0: off
    float repeat_penalty = 1.0f;
    float frequency_penalty = 0.0f;
    float presence_penalty = 0.0f;
    std::int32_t penalty_last_n = 64;  // tokens the penalties look back over; -1: all of the context, 0: off
    std::uint64_t seed = 0;
};

enum JobFlags : std::uint32_t {
    kJobIgnoreEos = 1u << 0,   // stop tokens do not end the job
    kJobScore = 1u << 1,       // no sampling: one kScore event per prompt token after n_cached
    kJobEmitLogits = 1u << 2,  // with kJobScore: the logits rows go to KernelArgs::logits_out
};

// One decode job, host → device. The prompt's token ids lie in the slot's token area. Position p of the job is row
// kv_first + p of the KV cache. Positions [0, n_cached) are already there; the kernel feeds [n_cached, n_prompt)
// itself, then samples.
struct alignas(128) DecodeJob {
    std::uint64_t id = 0;  // > 0, never reused
    std::int32_t n_prompt = 0;
    std::int32_t n_cached = 0;
    std::int32_t max_new_tokens = 0;
    std::uint32_t flags = 0;
    SamplingParams sampling;
    // The prompt's token at n_cached. It travels with the job, so that the kernel can begin without a look at the rest.
    std::int32_t first_token = 0;
    std::int32_t stop_tokens[kMaxStopTokens] = {};
    std::int32_t kv_first = 0;  // the conversation's rows of the KV cache
    std::int32_t kv_rows = 0;   // so many positions it may have; 0: all rows from kv_first on
    std::uint16_t n_stop_tokens = 0;
    std::int16_t n_alternatives = 0;  // kAlternative events before each kToken, at most kMaxAlternatives
};
static_assert(sizeof(DecodeJob) == 128, "a job is two cache lines");

enum class EventKind : std::uint32_t {
    kToken = 1,     // a generated token with its log-probability
    kScore = 2,     // the log-probability of a given token
    kFinished = 3,  // the job's last event; `reason` is set, `token` counts the events before it
    // One of the tokens that the unmodified distribution held most probable for the kToken that follows, the most
    // probable first, the lower id among equals.
    kAlternative = 4,
};

enum class FinishReason : std::uint32_t { kNone = 0, kStopToken, kLength, kCancelled, kFault };

// One event, device → host, as the host sees it after decoding a slot.
struct TokenEvent {
    EventKind kind = EventKind::kToken;
    FinishReason reason = FinishReason::kNone;
    std::uint16_t job = 0;  // low bits of DecodeJob::id
    std::int32_t token = 0;
    float logprob = 0.0f;       // natural log, of the unmodified distribution
    std::uint64_t time_ns = 0;  // device clock, modulo 2^48
};

// A job slot: the payload, then the sequence number that makes it valid (lap-unique: index + 1). Who reads all words at
// once, in no order, knows by the check whether they belong together. Writer: host.
struct alignas(128) JobSlot {
    DecodeJob job;
    std::uint64_t sequence = 0;  // the last to be written, with release
    std::uint64_t check = 0;     // the sum by add_checks of job_check over the words before it
};
constexpr int kJobWords = sizeof(DecodeJob) / 8;
constexpr int kSequenceWord = kJobWords;  // of the slot's words
constexpr int kCheckWord = kJobWords + 1;
constexpr int kSlotWords = kJobWords + 2;

// An event slot: four words, each of which carries the slot's sequence number, so that none needs an order
// relative to the others and a reader believes a slot only when all four agree. Writer: device.
struct alignas(32) EventSlot {
    std::uint64_t words[4] = {};
};

// What the kernel is doing, and after a hang who waited for what. Device → host.
enum class KernelState : std::uint32_t { kParked = 0, kIdle, kDecoding, kFaulted };

// The steps of a token, for status and traces. The order is the order of execution.
enum class Phase : std::uint32_t {
    kNone = 0,
    kArrival,  // all blocks resident
    kDirective,
    kEmbed,
    kQkv,
    kAttention,
    kCombine,  // the parts of attention
    kOutputProj,
    kGateUp,
    kDown,
    kLogits,
    kSample,
    kEventRing,  // room for an event
    kWeights,    // a stage of the weight stream (the Hopper path)
    kCount
};

enum class Fault : std::uint32_t {
    kNone = 0,
    kDeadline,       // a wait outlasted its deadline
    kHostGone,       // the host's lease went stale
    kEventRingFull,  // the host did not drain the event ring in time
    kBadJob,         // a job's numbers do not fit the kernel's memory
};

// Why one block gave up waiting. Writer: that block, `fault` last.
struct alignas(32) BlockFault {
    std::uint32_t phase = 0;  // Phase
    std::int32_t layer = 0;
    std::uint32_t expected = 0;
    std::uint32_t seen = 0;
    std::uint32_t fault = 0;  // Fault
};

// Writer: the kernel's leader (block 0, thread 0). The faults of the blocks follow in an array of their own.
struct alignas(128) KernelStatus {
    std::uint32_t state = 0;          // KernelState
    std::uint32_t fault = 0;          // Fault: why the kernel left, if not because it was told to
    std::uint32_t jobs_consumed = 0;  // job ring back-pressure: index of the next job the kernel will read
    std::uint32_t launches = 0;       // how often the kernel came to life
    std::uint32_t tokens = 0;         // tokens fed since the first launch
    std::uint64_t job_taken_ns = 0;   // the clock of events when the last job was taken
};

// Host → device commands, one cache line. Writer: the host's supervisor alone.
enum class Command : std::uint32_t { kRun = 0, kPark = 1, kStop = 2 };
struct alignas(128) HostControl {
    std::uint32_t lease = 0;            // counts up while the host lives
    std::uint32_t command = 0;          // Command
    std::uint32_t events_consumed = 0;  // event ring back-pressure: index of the next event the host will read
};

// ---- slot codecs ------------------------------------------------------------------------------------------

// A word that says itself whether it is valid. On the host it also orders what it announces, which costs
// nothing there; on the device the leader puts a fence before the one event that announces anything.
VIGIL_HD void store_event_word(std::uint64_t* p, std::uint64_t v) {
#if defined(__CUDA_ARCH__)
    store_relaxed(p, v);
#else
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
#endif
}

VIGIL_HD std::uint64_t load_event_word(const std::uint64_t* p) {
#if defined(__CUDA_ARCH__)
    return load_relaxed(p);
#else
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
#endif
}

VIGIL_HD void encode(EventSlot* slot, const TokenEvent& e, std::uint32_t sequence) {
    const std::uint64_t tag = static_cast<std::uint64_t>(sequence) << 32;
    const std::uint32_t head =
        static_cast<std::uint32_t>(e.kind) << 24 | static_cast<std::uint32_t>(e.reason) << 16 | e.job;
    store_event_word(&slot->words[0], tag | static_cast<std::uint32_t>(e.token));
    store_event_word(&slot->words[1], tag | float_bits(e.logprob));
    store_event_word(&slot->words[2], tag | head);
    // 48 bits of time leave 16 for the sequence number: enough to tell a lap from the one before.
    store_event_word(&slot->words[3], static_cast<std::uint64_t>(sequence & 0xffffu) << 48 | (e.time_ns & kTimeMask));
}

// True if the slot holds event `sequence` whole; `*e` is valid only then.
VIGIL_HD bool decode(const EventSlot* slot, TokenEvent* e, std::uint32_t sequence) {
    std::uint64_t w[4];
    for (int i = 0; i < 4; ++i) w[i] = load_event_word(&slot->words[i]);
    for (int i = 0; i < 3; ++i)
        if (static_cast<std::uint32_t>(w[i] >> 32) != sequence) return false;
    if (static_cast<std::uint32_t>(w[3] >> 48) != (sequence & 0xffffu)) return false;
    const auto head = static_cast<std::uint32_t>(w[2]);
    e->kind = static_cast<EventKind>(head >> 24);
    e->reason = static_cast<FinishReason>(head >> 16 & 0xffu);
    e->job = static_cast<std::uint16_t>(head & 0xffffu);
    e->token = static_cast<std::int32_t>(static_cast<std::uint32_t>(w[0]));
    e->logprob = bits_float(static_cast<std::uint32_t>(w[1]));
    e->time_ns = w[3] & kTimeMask;
    return true;
}

// A word's part in a slot's check: any change of any words changes the sum of all parts (add_checks), but for one
// chance in 2^64.
VIGIL_HD std::uint64_t job_check(std::uint64_t word, int place) {
    std::uint64_t x = word + 0x9e3779b97f4a7c15u * static_cast<std::uint64_t>(place + 1);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;  // the finaliser of SplitMix64
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}
// Each half for itself, as the lanes of a warp can add them up at once.
VIGIL_HD std::uint64_t add_checks(std::uint64_t a, std::uint64_t b) {
    return ((a >> 32) + (b >> 32)) << 32 | ((a + b) & 0xffffffffu);
}

// A job travels as 8-byte words. It is copied to and from them with memcpy: reading its floats through a pointer to
// integers would break the aliasing rules that the compiler reorders by.
VIGIL_HD void encode(JobSlot* slot, const DecodeJob& job, std::uint32_t sequence) {
    const auto* from = reinterpret_cast<const char*>(&job);
    auto* to = reinterpret_cast<std::uint64_t*>(&slot->job);
    std::uint64_t check = job_check(sequence, kSequenceWord);
    for (int i = 0; i < kJobWords; ++i) {
        std::uint64_t word;
        memcpy(&word, from + 8 * i, 8);
        check = add_checks(check, job_check(word, i));
        store_relaxed(&to[i], word);
    }
    store_relaxed(&slot->check, check);
    // Pairs with load_acquire in decode(JobSlot) and in look_for_job (device/leader.cuh).
    store_release(&slot->sequence, static_cast<std::uint64_t>(sequence));
}

VIGIL_HD bool decode(const JobSlot* slot, DecodeJob* job, std::uint32_t sequence) {
    if (load_acquire(&slot->sequence) != sequence) return false;  // pairs with store_release in encode(JobSlot)
    const auto* from = reinterpret_cast<const std::uint64_t*>(&slot->job);
    std::uint64_t words[kJobWords];
    std::uint64_t check = job_check(sequence, kSequenceWord);
    for (int i = 0; i < kJobWords; ++i) {
        words[i] = load_relaxed(&from[i]);
        check = add_checks(check, job_check(words[i], i));
    }
    if (load_relaxed(&slot->check) != check) return false;
    memcpy(job, words, sizeof words);
    return true;
}

}  // namespace vigil::ring
