// A byte-level BPE vocabulary in the manner of GPT-2: a token for every byte, a few merges of common English pairs,
// special tokens, and unused tokens up to the wanted size.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vigil::synth {

// llama.cpp's tokenizer.ggml.token_type numbers.
enum class TokenType : std::int32_t { normal = 1, control = 3, unused = 5 };

struct Vocabulary {
    std::vector<std::string> tokens;
    std::vector<std::int32_t> types;  // TokenType
    std::vector<std::string> merges;  // "LEFT RIGHT", the most important first
    std::uint32_t end_of_text = 0;    // also the beginning of a text
    std::uint32_t end_of_turn = 0;
};

inline constexpr std::uint32_t least_vocab_size = 320;

// `size` is at least least_vocab_size.
Vocabulary make_vocabulary(std::uint32_t size);

}  // namespace vigil::synth
