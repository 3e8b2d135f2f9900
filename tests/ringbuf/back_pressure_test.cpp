// When the producer reads the consumer's index: across PCIe each read costs about a microsecond.
#include <doctest/doctest.h>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/ringbuf/test_ring.h"

namespace vigil::ring {
namespace {

constexpr std::uint32_t kStarts[] = {0, 0x10000 - 3, 0x80000000 - 2, 0u - 9, 0u - 8, 0u - 1, 5};

// A word on a page of its own, which faults when read while it is hidden.
class HiddenWord {
   public:
    HiddenWord() : bytes_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
        void* page = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) throw std::bad_alloc();
        word_ = static_cast<std::uint32_t*>(page);
    }
    ~HiddenWord() { munmap(word_, bytes_); }
    HiddenWord(const HiddenWord&) = delete;
    HiddenWord& operator=(const HiddenWord&) = delete;

    void hide() { mprotect(word_, bytes_, PROT_NONE); }
    void show(std::uint32_t value) {
        mprotect(word_, bytes_, PROT_READ | PROT_WRITE);
        store_release(word_, value);
    }
    const std::uint32_t* get() const { return word_; }

   private:
    std::size_t bytes_;
    std::uint32_t* word_;
};

TEST_CASE_TEMPLATE("the consumer's index is read only when the cached copy says full", Ring, EventRing, JobRing) {
    using Message = typename Ring::Message;
    for (const std::uint32_t start : kStarts) {
        Ring ring(8, start);
        HiddenWord consumed;
        consumed.show(start);
        Producer<typename Ring::Slot, Message> producer(ring.slots.data(), 8, consumed.get(), start, start);

        consumed.hide();  // eight slots are known to be free: a read would end the test by a fault
        for (std::uint32_t i = 0; i < 8; ++i) REQUIRE(producer.try_push(message_at<Message>(start + i)));
        CHECK(producer.consumed_cache() == start);

        consumed.show(start + 5);  // now it has to look, once, and learns of five free slots
        REQUIRE(producer.try_push(message_at<Message>(start + 8)));
        CHECK(producer.consumed_cache() == start + 5);
        consumed.hide();
        for (std::uint32_t i = 9; i < 13; ++i) REQUIRE(producer.try_push(message_at<Message>(start + i)));

        consumed.show(start + 5);  // full again, and nothing new
        CHECK_FALSE(producer.try_push(message_at<Message>(start + 13)));
        CHECK(producer.next() == start + 13);
    }
}

TEST_CASE_TEMPLATE("a refused message leaves every slot untouched", Ring, EventRing, JobRing) {
    using Message = typename Ring::Message;
    Ring ring(4, 0u - 2);
    auto producer = ring.producer();
    for (std::uint32_t i = 0; i < 4; ++i) REQUIRE(producer.try_push(message_at<Message>(i)));
    const auto before = ring.slots;
    CHECK_FALSE(producer.try_push(message_at<Message>(99)));
    CHECK(std::memcmp(before.data(), ring.slots.data(), before.size() * sizeof(typename Ring::Slot)) == 0);
}

TEST_CASE("capacities are powers of two, and event rings smaller than the 16-bit tag") {
    for (std::uint32_t bit = 0; bit < 32; ++bit) {
        CHECK(is_ring_capacity<JobSlot>(1u << bit));
        CHECK(is_ring_capacity<EventSlot>(1u << bit) == (bit < 16));
    }
    for (const std::uint32_t capacity : {0u, 3u, 12u, 0x7fffu, 0xffffffffu}) {
        CHECK_FALSE(is_ring_capacity<JobSlot>(capacity));
        CHECK_FALSE(is_ring_capacity<EventSlot>(capacity));
    }
}

}  // namespace
}  // namespace vigil::ring
