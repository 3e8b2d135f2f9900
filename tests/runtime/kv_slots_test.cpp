// Which slot of the KV cache a prompt goes to, and what the slots hold afterwards.
#include "runtime/kv_slots.h"

#include <doctest/doctest.h>
#include <numeric>
#include <vector>

using namespace vigil;

namespace {

using Tokens = std::vector<Token>;

Tokens tokens(int n, Token first) {
    Tokens t(static_cast<std::size_t>(n));
    std::iota(t.begin(), t.end(), first);
    return t;
}

Tokens joined(Tokens a, const Tokens& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

Tokens held(const KvSlots& slots, std::int32_t slot) {
    return {slots.tokens(slot).begin(), slots.tokens(slot).end()};
}

// Claims for all of `prompt` but its last token, which is then fed like the rest.
KvSlots::Place feed(KvSlots& slots, const Tokens& prompt) {
    const auto limit = static_cast<std::int32_t>(prompt.size()) - 1;
    const KvSlots::Place found = slots.find(prompt, limit);
    const KvSlots::Place place = slots.claim(prompt, limit);
    CHECK(found.slot == place.slot);
    CHECK(found.n_reused == place.n_reused);
    slots.append(place.slot, std::span(prompt).subspan(static_cast<std::size_t>(place.n_reused)));
    return place;
}

}  // namespace

TEST_CASE("a conversation goes on where it is, and its slot holds it afterwards") {
    KvSlots slots(3, 100);
    const Tokens first = tokens(20, 100);
    const KvSlots::Place begun = feed(slots, first);
    CHECK(begun.n_reused == 0);
    feed(slots, tokens(20, 500));
    const Tokens longer = joined(first, tokens(5, 900));
    const KvSlots::Place place = feed(slots, longer);
    CHECK(place.slot == begun.slot);
    CHECK(place.n_reused == 20);
    CHECK(held(slots, place.slot) == longer);
    CHECK(slots.first_row(2) == 200);
}

TEST_CASE("the last token of a prompt is never reused, nor more than the limit") {
    KvSlots slots(1, 100);
    const Tokens prompt = tokens(10, 0);
    feed(slots, prompt);
    CHECK(feed(slots, prompt).n_reused == 9);
    CHECK(slots.claim(prompt, 4).n_reused == 4);
    CHECK(held(slots, 0) == tokens(4, 0));
    CHECK(slots.claim(prompt, 0).n_reused == 0);
    CHECK(slots.claim(prompt, 1000).n_reused == 0);
    CHECK(held(slots, 0).empty());
}

TEST_CASE("the least recently used conversation is driven out") {
    KvSlots slots(2, 100);
    feed(slots, tokens(10, 100));
    const std::int32_t second = feed(slots, tokens(10, 200)).slot;
    feed(slots, joined(tokens(10, 100), {7, 8}));
    CHECK(feed(slots, tokens(10, 300)).slot == second);
    CHECK(feed(slots, joined(tokens(10, 100), {7, 8, 9})).n_reused == 12);
    CHECK(feed(slots, tokens(10, 200)).n_reused == 0);
}

TEST_CASE("of two conversations that begin alike a prompt joins the one that shares more with it") {
    KvSlots slots(3, 100);
    const Tokens system = tokens(10, 0);
    feed(slots, joined(system, tokens(10, 100)));
    const std::int32_t b = feed(slots, joined(system, tokens(10, 200))).slot;
    feed(slots, tokens(10, 300));
    const KvSlots::Place place = feed(slots, joined(joined(system, tokens(10, 200)), {1, 2}));
    CHECK(place.slot == b);
    CHECK(place.n_reused == 20);
}

TEST_CASE("a new conversation takes an empty slot rather than one that only begins alike") {
    KvSlots slots(2, 100);
    const Tokens system = tokens(30, 0);
    const std::int32_t a = feed(slots, joined(system, tokens(5, 100))).slot;
    const KvSlots::Place place = feed(slots, joined(system, tokens(5, 200)));
    CHECK(place.slot != a);
    CHECK(place.n_reused == 0);
    // With no empty slot left the long common beginning is worth more than the few tokens lost.
    CHECK(feed(slots, joined(system, tokens(5, 300))).n_reused == 30);
}

TEST_CASE("a long conversation is not driven out for a short common beginning") {
    KvSlots slots(2, 1000);
    const Tokens bos = {1};
    const std::int32_t a = feed(slots, joined(bos, tokens(500, 100))).slot;
    feed(slots, tokens(5, 900));
    feed(slots, joined(joined(bos, tokens(500, 100)), {3}));
    CHECK(feed(slots, {1, 2, 3}).slot != a);
    CHECK(feed(slots, joined(joined(bos, tokens(500, 100)), {3, 4})).n_reused == 502);
}

TEST_CASE("an answer generated anew goes back into its own conversation although a slot is empty") {
    KvSlots slots(2, 100);
    const Tokens question = tokens(30, 100);
    const std::int32_t slot = feed(slots, joined(question, tokens(10, 900))).slot;
    const KvSlots::Place again = feed(slots, question);
    CHECK(again.slot == slot);
    CHECK(again.n_reused == 29);
    CHECK(held(slots, slot) == question);
}

TEST_CASE("what is forgotten is not reused") {
    KvSlots slots(2, 100);
    feed(slots, tokens(10, 100));
    feed(slots, tokens(10, 200));
    slots.forget_all();
    CHECK(feed(slots, tokens(10, 100)).n_reused == 0);
    CHECK(feed(slots, tokens(10, 200)).n_reused == 0);
}
