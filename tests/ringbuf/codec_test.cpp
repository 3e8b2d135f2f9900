// The wire format: what goes in comes out, and a slot that is torn, stale or empty is never believed.
#include <array>
#include <bit>
#include <cstddef>
#include <doctest/doctest.h>
#include <initializer_list>
#include <limits>

#include "ringbuf/messages.h"

using namespace vigil::ring;

namespace {

TokenEvent some_event() {
    TokenEvent e;
    e.kind = EventKind::kToken;
    e.reason = FinishReason::kNone;
    e.job = 0xbeef;
    e.token = 49151;
    e.logprob = -3.25f;
    e.time_ns = 0x123456789abc;
    return e;
}

void check_equal(const TokenEvent& a, const TokenEvent& b) {
    CHECK(a.kind == b.kind);
    CHECK(a.reason == b.reason);
    CHECK(a.job == b.job);
    CHECK(a.token == b.token);
    CHECK(float_bits(a.logprob) == float_bits(b.logprob));
    CHECK(a.time_ns == b.time_ns);
}

DecodeJob some_job() {
    DecodeJob job;
    job.id = 0x0123456789abcdef;
    job.n_prompt = 17;
    job.n_cached = 16;
    job.max_new_tokens = 128;
    job.flags = kJobIgnoreEos;
    job.sampling.seed = 42;
    job.kv_first = 256;
    job.kv_rows = 128;
    job.n_alternatives = kMaxAlternatives;
    job.n_stop_tokens = kMaxStopTokens;
    for (std::uint32_t i = 0; i < kMaxStopTokens; ++i) job.stop_tokens[i] = static_cast<std::int32_t>(100 + i);
    return job;
}

}  // namespace

TEST_CASE("an event survives the slot, whatever its values") {
    const float logprobs[] = {0.0f, -0.0f, -1e30f, -std::numeric_limits<float>::infinity(),
                              std::numeric_limits<float>::quiet_NaN()};
    const std::int32_t tokens[] = {0, 1, -1, std::numeric_limits<std::int32_t>::max(),
                                   std::numeric_limits<std::int32_t>::min()};
    for (const auto kind : {EventKind::kToken, EventKind::kScore, EventKind::kFinished})
        for (const auto reason : {FinishReason::kNone, FinishReason::kStopToken, FinishReason::kLength,
                                  FinishReason::kCancelled, FinishReason::kFault})
            for (const float logprob : logprobs)
                for (const std::int32_t token : tokens)
                    for (const std::uint32_t sequence : {1u, 0xffffu, 0x10000u, 0xffffffffu}) {
                        TokenEvent in = some_event();
                        in.kind = kind;
                        in.reason = reason;
                        in.logprob = logprob;
                        in.token = token;
                        EventSlot slot;
                        encode(&slot, in, sequence);
                        TokenEvent out;
                        REQUIRE(decode(&slot, &out, sequence));
                        check_equal(in, out);
                    }
}

TEST_CASE("an event's time is kept modulo 2^48 and never spills into the sequence number") {
    TokenEvent in = some_event();
    in.time_ns = std::numeric_limits<std::uint64_t>::max();
    EventSlot slot;
    encode(&slot, in, 7);
    TokenEvent out;
    REQUIRE(decode(&slot, &out, 7));
    CHECK(out.time_ns == kTimeMask);
}

TEST_CASE("an empty slot holds no event") {
    const EventSlot slot;
    TokenEvent out;
    CHECK_FALSE(decode(&slot, &out, 1));
}

TEST_CASE("an event of the lap before is not believed, nor one of the lap to come") {
    constexpr std::uint32_t capacity = 8;
    EventSlot slot;
    encode(&slot, some_event(), 3);
    TokenEvent out;
    CHECK_FALSE(decode(&slot, &out, 3 + capacity));
    CHECK_FALSE(decode(&slot, &out, 3 - capacity));
    CHECK(decode(&slot, &out, 3));
}

TEST_CASE("a torn event is not believed, whichever of its words are old") {
    TokenEvent older = some_event();
    older.token = 5;
    TokenEvent newer = some_event();
    newer.token = 6;
    EventSlot was;
    EventSlot is;
    encode(&was, older, 3);
    encode(&is, newer, 3 + 8);
    for (unsigned arrived = 0; arrived < 16; ++arrived) {
        CAPTURE(arrived);
        EventSlot torn;
        for (unsigned word = 0; word < 4; ++word)
            torn.words[word] = (arrived >> word & 1u) != 0 ? is.words[word] : was.words[word];
        TokenEvent out;
        CHECK(decode(&torn, &out, 3 + 8) == (arrived == 15));
        CHECK(decode(&torn, &out, 3) == (arrived == 0));
    }
}

TEST_CASE("a job survives the slot") {
    const DecodeJob in = some_job();
    JobSlot slot;
    encode(&slot, in, 9);
    DecodeJob out;
    REQUIRE(decode(&slot, &out, 9));
    using Bytes = std::array<std::byte, sizeof in>;
    CHECK((std::bit_cast<Bytes>(out) == std::bit_cast<Bytes>(in)));
}

TEST_CASE("a job slot of another lap leaves the job untouched") {
    JobSlot slot;
    encode(&slot, some_job(), 9);
    DecodeJob out;
    out.id = 1;
    CHECK_FALSE(decode(&slot, &out, 8));
    CHECK_FALSE(decode(&slot, &out, 10));
    CHECK(out.id == 1);
}

TEST_CASE("a job whose payload is written but not its sequence number is not there") {
    JobSlot slot;
    encode(&slot, some_job(), 1);
    slot.job.id = 77;  // the next lap's payload has begun to arrive
    DecodeJob out;
    CHECK_FALSE(decode(&slot, &out, 9));
}
