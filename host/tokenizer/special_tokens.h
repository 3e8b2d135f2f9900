// Finding the tokens that are written out in a text: control tokens such as <|im_start|> and user-defined ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "host/tokenizer/text_index.h"

namespace vigil {

class SpecialTokens {
   public:
    // `always`: the token is looked for even where special tokens are not to be parsed (user-defined tokens).
    void add(std::string_view text, Token token, bool always);

    // A stretch of the text: a special token, or (no_token) plain text.
    struct Segment {
        std::string_view text;
        Token token;
    };
    // Bytes [begin, end) of a text.
    struct Range {
        std::size_t begin, end;
    };
    // Cuts `text` into segments, in order. Where tokens overlap the longest wins, then the leftmost: llama.cpp looks
    // for all of the longest token first, then for the next. A token that touches one of the `literal` ranges (rising,
    // apart from each other) stays text, unless it is user-defined and not spelled like a marker (<|…|>, <a_b>, […]).
    // Time O(n × distinct lengths).
    std::vector<Segment> split(std::string_view text, bool parse_special, std::span<const Range> literal = {}) const;

   private:
    struct Entry {
        Token token;
        bool always;
        bool in_literal;  // also where text is to be taken literally
    };
    std::unordered_map<std::string, Entry, TextHash, std::equal_to<>> entries_;
    std::vector<std::size_t> lengths_by_first_byte_[256];  // of the entries' texts, longest first
};

}  // namespace vigil
