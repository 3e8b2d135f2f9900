// What the KV cache holds: equal ranges of its rows, one conversation each, and the tokens whose keys and values stand
// there. Which range a prompt goes to, and how much of it is there already.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "host/tokenizer/token.h"

namespace vigil {

class KvSlots {
   public:
    // `rows` each.
    KvSlots(std::int32_t n_slots, std::int32_t rows);

    struct Place {
        std::int32_t slot = 0;
        std::int32_t n_reused = 0;  // leading tokens of the prompt that the slot holds
    };
    // The slot for `prompt`, of which at most `limit` leading tokens may be reused: the one that shares most with it.
    // But a conversation is driven out by another that only begins alike (with the same system prompt, say) only if
    // that is at least half of it and no slot is empty; and one that the prompt merely leads back into, if that is at
    // least half. Else the slot used the longest ago. The slot holds the reused tokens from then on, and nothing more.
    Place claim(std::span<const Token> prompt, std::int32_t limit);
    // What claim() would return.
    Place find(std::span<const Token> prompt, std::int32_t limit) const;
    // The tokens of positions [size, size + tokens.size()) of `slot` are in the cache now.
    void append(std::int32_t slot, std::span<const Token> tokens);
    // Nothing is known of any slot any more.
    void forget_all();

    std::int32_t first_row(std::int32_t slot) const noexcept { return slot * rows_; }
    std::int32_t rows() const noexcept { return rows_; }
    std::span<const Token> tokens(std::int32_t slot) const;

   private:
    struct Slot {
        std::vector<Token> tokens;   // by position
        std::uint64_t last_use = 0;  // 0: never
    };
    std::vector<Slot> slots_;
    std::int32_t rows_;
    std::uint64_t uses_ = 0;
};

}  // namespace vigil
