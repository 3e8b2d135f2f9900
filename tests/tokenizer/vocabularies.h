// Small vocabularies built in memory.
#pragma once

#include <string>
#include <vector>

#include "host/tokenizer/byte_alphabet.h"
#include "host/tokenizer/spec.h"

namespace vigil::test {

// BPE over gpt-2's words: tokens 0–255 are the bytes; then "he", "ll", "hell", "hello", " hello", and the control token
// <|im_end|> (261) and the user-defined <tool> (262).
inline TokenizerSpec small_bpe() {
    TokenizerSpec spec;
    spec.model = "gpt2";
    spec.pre = "gpt-2";
    for (int byte = 0; byte < 256; ++byte) {
        spec.tokens.emplace_back(byte_alphabet::spell(static_cast<std::uint8_t>(byte)));
    }
    for (const char* text : {"he", "ll", "hell", "hello", "Ġhello", "<|im_end|>", "<tool>"})
        spec.tokens.emplace_back(text);
    spec.merges = {"h e", "l l", "he ll", "hell o", "Ġ hello"};
    spec.token_type = std::vector<std::int64_t>(spec.tokens.size(), 1);
    (*spec.token_type)[261] = 3;
    (*spec.token_type)[262] = 4;
    spec.bos_token_id = 261;
    spec.eos_token_id = 261;
    return spec;
}

// SPM: <unk>, <s>, </s>, the 256 byte tokens from id 3, then the pieces from id 259.
inline TokenizerSpec small_spm() {
    TokenizerSpec spec;
    spec.model = "llama";
    spec.tokens = {"<unk>", "<s>", "</s>"};
    spec.token_type = {2, 3, 3};
    spec.scores = {0, 0, 0};
    constexpr char digits[] = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte) {
        spec.tokens.push_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">");
        spec.token_type->push_back(6);
        spec.scores->push_back(0);
    }
    double score = 0;
    for (const char* text : {"ab", "bc", "▁a", "▁ab", "▁", "a", "b", "c"}) {
        spec.tokens.emplace_back(text);
        spec.token_type->push_back(1);
        spec.scores->push_back(score -= 1);
    }
    return spec;
}

inline constexpr int spm_first_byte = 3;
inline constexpr int spm_ab = 259, spm_bc = 260, spm_blank_a = 261, spm_blank_ab = 262, spm_blank = 263, spm_a = 264,
                     spm_b = 265, spm_c = 266;

}  // namespace vigil::test
