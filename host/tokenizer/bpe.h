// Byte-pair encoding: a word's bytes are joined pair by pair, the best-ranked pair of the merge list first.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "host/tokenizer/text_index.h"

namespace vigil {

class Bpe {
   public:
    // `by_text` finds a token by its text as the vocabulary spells it (byte_alphabet.h); `merges` holds "left right",
    // best first. With `ignore_merges` a word that spells a token of `whole_words` as a whole becomes that token.
    // Throws TokenizerError for a merge that does not parse or names what is no token.
    Bpe(const TextIndex& by_text, const std::vector<std::string>& merges, bool ignore_merges, TextIndex whole_words);

    // Appends the tokens of one word, given as raw bytes. Bytes that the vocabulary lacks are dropped, as llama.cpp
    // does: there is no token to say them with. Time O(n log n) in the word's length.
    void encode_word(std::string_view word, std::vector<Token>& out) const;

   private:
    struct Merge {
        std::uint32_t rank;
        Token result;
    };
    const Merge* find_merge(Token left, Token right) const;

    std::array<Token, 256> byte_tokens_{};
    std::unordered_map<std::uint64_t, Merge> merges_;  // by both halves, see pair_key
    bool ignore_merges_;
    TextIndex whole_words_;
};

}  // namespace vigil
