// Cutting text into the words within which BPE merges.
//
// A pre-tokenizer is a list of patterns applied in turn: each cuts every piece that the one before it left into its
// matches and what lies between them. The table of those that vigil knows is in pretokenizer_table.cpp.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vigil {

struct PreTokenizerDefinition {
    std::string_view name;                   // as in tokenizer.ggml.pre
    std::vector<std::string_view> aliases;   // other spellings of the same
    std::vector<std::string_view> patterns;  // regular expressions, applied in turn
    bool ignore_merges = false;              // a word that is a token as a whole is that token
    bool add_bos = false;                    // where tokenizer.ggml.add_bos_token is missing
};

std::span<const PreTokenizerDefinition> pretokenizer_table();
// By name or alias; nullptr if there is none.
const PreTokenizerDefinition* find_pretokenizer(std::string_view name);
// "default, gpt-2, llama-bpe (llama3, llama-v3), …", for error messages.
std::string known_pretokenizers();

class PreTokenizer {
   public:
    // Compiles the patterns (PCRE2, UTF and UCP, JIT where there is one). Throws TokenizerError for a bad pattern.
    explicit PreTokenizer(const PreTokenizerDefinition& definition);
    PreTokenizer(PreTokenizer&&) noexcept;
    PreTokenizer& operator=(PreTokenizer&&) noexcept;
    ~PreTokenizer();

    // The words of `text` in order; together they are `text`. `text` must be valid UTF-8 and outlive the result.
    // Throws TokenizerError if a pattern exceeds its match limit. Safe to call from several threads.
    std::vector<std::string_view> split(std::string_view text) const;

   private:
    struct Pattern;
    std::string_view name_;
    std::vector<Pattern> patterns_;
};

}  // namespace vigil
