// Fields at their extremes come back bit for bit, and the layout is the one that both sides of PCIe count on.
#include <doctest/doctest.h>
#include <limits>

#include "tests/ringbuf/test_ring.h"

namespace vigil::ring {
namespace {

constexpr std::uint32_t kSequences[] = {1, 0xffff, 0x10000, 0x7fffffff, 0xffffffff, 0};

TEST_CASE("log-probabilities keep every bit, signalling NaN included") {
    constexpr std::uint32_t kBits[] = {0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x7f7fffff, 0x7f800000,
                                       0xff800000, 0x7fc00000, 0xffc12345, 0x7f800001, 0xffbfffff, 0xffffffff};
    for (const std::uint32_t bits : kBits)
        for (const std::uint32_t sequence : kSequences) {
            TokenEvent e;
            e.logprob = bits_float(bits);
            EventSlot slot;
            encode(&slot, e, sequence);
            TokenEvent back;
            REQUIRE(decode(&slot, &back, sequence));
            CHECK(float_bits(back.logprob) == bits);
        }
}

TEST_CASE("messages of any bits come back whole") {
    for (std::uint32_t i = 0; i < 10000; ++i) {
        EventSlot event_slot;
        encode(&event_slot, event_at(i), i * 0x9e3779b9u);
        TokenEvent e;
        REQUIRE(decode(&event_slot, &e, i * 0x9e3779b9u));
        CHECK(same(e, event_at(i)));
        JobSlot job_slot;
        encode(&job_slot, job_at(i), i + 1);
        DecodeJob job;
        REQUIRE(decode(&job_slot, &job, i + 1));
        CHECK(same(job, job_at(i)));
    }
}

TEST_CASE("a job keeps the extremes of its fields") {
    using Int = std::numeric_limits<std::int32_t>;
    DecodeJob job;
    job.id = ~std::uint64_t{0};
    job.n_prompt = Int::max();
    job.n_cached = Int::min();
    job.sampling.top_p = bits_float(0x7f800001);  // a signalling NaN
    job.sampling.min_p = -0.0f;
    job.sampling.seed = ~std::uint64_t{0} - 1;
    job.stop_tokens[kMaxStopTokens - 1] = Int::min() + 1;
    JobSlot slot;
    encode(&slot, job, 7);
    DecodeJob back;
    REQUIRE(decode(&slot, &back, 7));
    CHECK(back.id == ~std::uint64_t{0});
    CHECK(back.n_prompt == Int::max());
    CHECK(back.n_cached == Int::min());
    CHECK(float_bits(back.sampling.top_p) == 0x7f800001);
    CHECK(float_bits(back.sampling.min_p) == 0x80000000);
    CHECK(back.sampling.seed == ~std::uint64_t{0} - 1);
    CHECK(back.stop_tokens[kMaxStopTokens - 1] == Int::min() + 1);
}

static_assert(sizeof(EventSlot) == 32 && alignof(EventSlot) == 32);
static_assert(sizeof(JobSlot) == 256 && offsetof(JobSlot, sequence) == 8 * kSequenceWord &&
              offsetof(JobSlot, check) == 8 * kCheckWord && kSlotWords <= 32);
static_assert(sizeof(KernelStatus) == 128 && alignof(KernelStatus) == 128);
static_assert(sizeof(HostControl) == 128 && alignof(HostControl) == 128);
static_assert(offsetof(DecodeJob, n_alternatives) + sizeof(DecodeJob::n_alternatives) == 128, "a job has no padding");

}  // namespace
}  // namespace vigil::ring
