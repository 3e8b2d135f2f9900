#include "runtime/kv_slots.h"

#include <algorithm>

namespace vigil {
namespace {

std::size_t common_prefix(std::span<const Token> a, std::span<const Token> b) {
    return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

KvSlots::KvSlots(std::int32_t n_slots, std::int32_t rows) : slots_(static_cast<std::size_t>(n_slots)), rows_(rows) {}

KvSlots::Place KvSlots::find(std::span<const Token> prompt, std::int32_t limit) const {
    const auto reusable = prompt.first(std::min(prompt.size(), static_cast<std::size_t>(std::max(limit, 0))));
    const bool has_empty = std::ranges::any_of(slots_, [](const Slot& slot) { return slot.tokens.empty(); });
    const Slot* best = nullptr;
    std::size_t most = 0;
    for (const Slot& slot : slots_) {
        const std::size_t common = common_prefix(slot.tokens, reusable);
        const bool continues = common == slot.tokens.size();
        const bool leads_back = common == reusable.size();
        const bool keeps_half = 2 * common >= slot.tokens.size();
        if (common <= most || !(continues || (keeps_half && (leads_back || !has_empty)))) continue;
        best = &slot;
        most = common;
    }
    if (best == nullptr) {
        best = &*std::ranges::min_element(slots_, {}, &Slot::last_use);
        most = common_prefix(best->tokens, reusable);
    }
    return {static_cast<std::int32_t>(best - slots_.data()), static_cast<std::int32_t>(most)};
}

KvSlots::Place KvSlots::claim(std::span<const Token> prompt, std::int32_t limit) {
    const Place place = find(prompt, limit);
    Slot& slot = slots_[static_cast<std::size_t>(place.slot)];
    slot.tokens.resize(static_cast<std::size_t>(place.n_reused));
    slot.last_use = ++uses_;
    return place;
}

void KvSlots::append(std::int32_t slot, std::span<const Token> tokens) {
    std::vector<Token>& held = slots_[static_cast<std::size_t>(slot)].tokens;
    held.insert(held.end(), tokens.begin(), tokens.end());
}

void KvSlots::forget_all() {
    for (Slot& slot : slots_) slot = {};
}

std::span<const Token> KvSlots::tokens(std::int32_t slot) const {
    return slots_[static_cast<std::size_t>(slot)].tokens;
}

}  // namespace vigil
