// A slot that is torn, stale or of another lap is never believed: the words of a slot are written in every order, in
// every subset, and next to words of the laps around.
#include <algorithm>
#include <array>
#include <doctest/doctest.h>
#include <utility>

#include "tests/ringbuf/test_ring.h"

namespace vigil::ring {
namespace {

constexpr std::uint32_t kCapacities[] = {1, 2, 64, 4096, kMaxEventCapacity};

// Around zero and 2^32, and where the low 16 bits roll over.
constexpr std::uint32_t kIndices[] = {0,          1,          0x7ffe,     0x7fff,     0xfffe,
                                      0xffff,     0x10000,    0x12345678, 0x7fffffff, 0x80000000,
                                      0xfffeffff, 0xfffffffd, 0xfffffffe, 0xffffffff};

using Words = std::array<std::uint64_t, 4>;

Words words_of(const TokenEvent& e, std::uint32_t index) {
    EventSlot slot;
    encode(&slot, e, index + 1);
    Words words;
    std::copy(std::begin(slot.words), std::end(slot.words), words.begin());
    return words;
}

// What lies in the slot of `index` before its event is written: the lap before, or nothing in a new ring.
Words words_before(std::uint32_t index, std::uint32_t capacity) {
    return index < capacity ? Words{} : words_of(event_at(index - capacity), index - capacity);
}

bool believed(const Words& words, std::uint32_t index) {
    EventSlot slot;
    std::copy(words.begin(), words.end(), std::begin(slot.words));
    TokenEvent e;
    return decode(&slot, &e, index + 1);
}

TEST_CASE("an event whose words arrive in any order is believed with the last one") {
    for (const std::uint32_t capacity : kCapacities)
        for (const std::uint32_t index : kIndices) {
            const Words after = words_of(event_at(index), index);
            std::array<std::size_t, 4> order = {0, 1, 2, 3};
            do {
                EventSlot slot;
                const Words before = words_before(index, capacity);
                std::copy(before.begin(), before.end(), std::begin(slot.words));
                for (const std::size_t word : order) {
                    TokenEvent e;
                    CHECK_FALSE(decode(&slot, &e, index + 1));
                    store_event_word(&slot.words[word], after[word]);
                }
                TokenEvent e;
                REQUIRE(decode(&slot, &e, index + 1));
                CHECK(same(e, event_at(index)));
            } while (std::next_permutation(order.begin(), order.end()));
        }
}

TEST_CASE("each word of an event may be of any lap, and only one mixture is believed") {
    for (const std::uint32_t capacity : kCapacities)
        for (const std::uint32_t index : kIndices) {
            // This lap, the one before (or a new slot), and the one after, which a reader that is far too late would
            // see.
            const std::array<Words, 3> laps = {words_of(event_at(index), index), words_before(index, capacity),
                                               words_of(event_at(index + capacity), index + capacity)};
            for (std::size_t mixture = 0; mixture < 81; ++mixture) {
                const std::array<std::size_t, 4> from = {mixture % 3, mixture / 3 % 3, mixture / 9 % 3, mixture / 27};
                Words words;
                for (std::size_t i = 0; i < words.size(); ++i) words[i] = laps[from[i]][i];
                CHECK(believed(words, index) == (mixture == 0));
            }
        }
}

TEST_CASE("an event with the content of its predecessor still needs its own sequence number") {
    // Equal tokens in a row are common; only the tag tells them apart.
    const TokenEvent e = event_at(7);
    for (const std::uint32_t capacity : kCapacities) {
        const std::uint32_t index = 5 * capacity;
        const Words before = words_of(e, index - capacity);
        const Words after = words_of(e, index);
        for (std::size_t subset = 0; subset < 16; ++subset) {
            Words words;
            for (std::size_t i = 0; i < words.size(); ++i) words[i] = (subset >> i & 1u) != 0 ? after[i] : before[i];
            CHECK(believed(words, index) == (subset == 15));
        }
    }
}

TEST_CASE("the 16-bit tag of the time tells all laps apart that can meet in a slot") {
    for (const std::uint32_t index : kIndices) {
        Words words = words_of(event_at(index), index);
        const std::uint64_t own = words[3];
        for (std::uint32_t capacity = 1; capacity <= kMaxEventCapacity; capacity *= 2) {
            words[3] = words_of(event_at(index - capacity), index - capacity)[3];
            CHECK_FALSE(believed(words, index));
        }
        // This is what limits the capacity: one slot count further and the tag repeats.
        words[3] = words_of(event_at(index - 0x10000), index - 0x10000)[3];
        CHECK(believed(words, index));
        words[3] = own;
        CHECK(believed(words, index));
    }
}

TEST_CASE("a slot never written is not an event of the first lap") {
    const EventSlot event_slot;
    const JobSlot job_slot;
    TokenEvent e;
    DecodeJob job;
    for (std::uint32_t index = 0; index < kMaxEventCapacity; ++index) {
        CHECK_FALSE(decode(&event_slot, &e, index + 1));
        CHECK_FALSE(decode(&job_slot, &job, index + 1));
    }
}

// A job's payload as the words that encode stores.
using JobWords = std::array<std::uint64_t, sizeof(DecodeJob) / 8>;

void store_word(JobSlot* slot, const JobWords& words, std::size_t i) {
    store_relaxed(reinterpret_cast<std::uint64_t*>(&slot->job) + i, words[i]);
}

TEST_CASE("a job is not believed before its sequence number, however much of its payload is there") {
    for (const std::uint32_t capacity : {1u, 8u, 1u << 20})
        for (const std::uint32_t index : kIndices) {
            JobSlot slot;
            if (index >= capacity) encode(&slot, job_at(index - capacity), index - capacity + 1);
            JobWords words;
            const DecodeJob next = job_at(index);
            std::memcpy(words.data(), &next, sizeof next);
            DecodeJob job;
            for (std::size_t n = 0; n < words.size(); ++n) {
                CHECK_FALSE(decode(&slot, &job, index + 1));
                store_word(&slot, words, n * 7 % words.size());  // 7 and 16 are coprime: every word once, out of order
            }
            JobSlot whole;
            encode(&whole, next, index + 1);
            store_relaxed(&slot.check, whole.check);
            CHECK_FALSE(decode(&slot, &job, index + 1));
            store_release(&slot.sequence, std::uint64_t{index + 1});
            REQUIRE(decode(&slot, &job, index + 1));
            CHECK(same(job, job_at(index)));
        }
}

// The kernel asks for all words of a slot at once, and they come in no order.
TEST_CASE("a job with its new sequence number is not believed while any other word is of the lap before") {
    for (const std::uint32_t index : kIndices) {
        constexpr std::uint32_t kCapacity = 8;
        JobSlot before;
        if (index >= kCapacity) encode(&before, job_at(index - kCapacity), index - kCapacity + 1);
        JobSlot after;
        encode(&after, job_at(index), index + 1);
        const auto word = [](JobSlot& slot, int i) { return reinterpret_cast<std::uint64_t*>(&slot) + i; };
        DecodeJob job = job_at(3);
        for (int old = 0; old < kSlotWords; ++old) {
            if (old == kSequenceWord) continue;
            // This one alone, and all from it on.
            for (const int last : {old, kSlotWords - 1}) {
                JobSlot torn = after;
                for (int i = old; i <= last; ++i)
                    if (i != kSequenceWord) store_relaxed(word(torn, i), load_relaxed(word(before, i)));
                CHECK_FALSE(decode(&torn, &job, index + 1));
                CHECK(same(job, job_at(3)));
            }
        }
        REQUIRE(decode(&after, &job, index + 1));
        CHECK(same(job, job_at(index)));
    }
}

TEST_CASE("two jobs that differ by one bit, or in the places of two words, have different checks") {
    JobWords words;
    const DecodeJob job = job_at(5);
    std::memcpy(words.data(), &job, sizeof job);
    const auto check = [](const JobWords& of) {
        std::uint64_t sum = 0;
        for (int i = 0; i < kJobWords; ++i) sum = ring::add_checks(sum, job_check(of[static_cast<std::size_t>(i)], i));
        return sum;
    };
    const std::uint64_t own = check(words);
    for (std::size_t i = 0; i < words.size(); ++i) {
        for (int bit = 0; bit < 64; ++bit) {
            JobWords other = words;
            other[i] ^= std::uint64_t{1} << bit;
            CHECK(check(other) != own);
        }
        for (std::size_t j = 0; j < i; ++j) {
            JobWords other = words;
            std::swap(other[i], other[j]);
            CHECK(check(other) != own);
        }
    }
}

TEST_CASE("a refused slot leaves the caller's message as it was") {
    for (std::size_t subset = 0; subset < 15; ++subset) {
        const Words after = words_of(event_at(9), 9);
        EventSlot slot;
        for (std::size_t i = 0; i < after.size(); ++i) slot.words[i] = (subset >> i & 1u) != 0 ? after[i] : 0;
        TokenEvent e = event_at(3);
        CHECK_FALSE(decode(&slot, &e, 10));
        CHECK(same(e, event_at(3)));
    }
    JobSlot slot;
    encode(&slot, job_at(4), 5);
    DecodeJob job = job_at(1);
    CHECK_FALSE(decode(&slot, &job, 6));
    CHECK(same(job, job_at(1)));
}

}  // namespace
}  // namespace vigil::ring
