// A tokenizer's vocabulary and rules after every check: whatever stands here is in range and consistent.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/tokenizer/pretokenizer.h"
#include "host/tokenizer/spec.h"
#include "host/tokenizer/text_index.h"

namespace vigil {

struct Vocabulary {
    const PreTokenizerDefinition* pre = nullptr;  // BPE with this pre-tokenizer; nullptr: SPM
    std::vector<std::string> texts;               // as the file spells them, indexed by token
    std::vector<TokenType> types;                 // indexed by token
    std::vector<float> scores;                    // indexed by token; SPM only
    TextIndex by_text;                            // every token with a text
    std::optional<Token> bos, eos, unknown;
    bool add_bos = false;
    bool add_eos = false;
    bool add_space_prefix = false;
    std::vector<Token> end_of_generation;  // rising
    std::vector<std::string> warnings;     // what was guessed, for the user to read

    bool is_spm() const noexcept { return pre == nullptr; }
    TokenType type(Token token) const { return types[static_cast<std::size_t>(token)]; }
    const std::string& text(Token token) const { return texts[static_cast<std::size_t>(token)]; }
};

// The name under which SPM can be chosen in place of a pre-tokenizer.
inline constexpr std::string_view spm_name = "spm";

// Checks `spec` (all but its merges) and fills in llama.cpp's defaults. `pre_override` decides the kind of vocabulary
// in place of tokenizer.ggml.model and tokenizer.ggml.pre. Throws TokenizerError naming key and value.
Vocabulary check_vocabulary(TokenizerSpec& spec, const std::optional<std::string>& pre_override);

// The byte that a text such as "<0x0A>" names, or -1.
int named_byte(std::string_view text);

}  // namespace vigil
