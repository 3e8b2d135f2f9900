// What a tokenizer is made of, as plain data: the content of a GGUF file's tokenizer.ggml.* keys, not yet checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vigil {

// The numbers of tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
    undefined = 0,
    normal = 1,
    unknown = 2,
    control = 3,
    user_defined = 4,
    unused = 5,
    byte = 6,
};

// Each member bears the name of its key. An absent optional is a key that the file does not have.
struct TokenizerSpec {
    std::string model;               // "gpt2" (BPE) or "llama" (SPM)
    std::optional<std::string> pre;  // the pre-tokenizer of a BPE vocabulary
    std::vector<std::string> tokens;
    std::optional<std::vector<std::int64_t>> token_type;  // all tokens are normal without it
    std::optional<std::vector<double>> scores;            // SPM needs them
    std::optional<std::vector<std::string>> merges;       // BPE needs them; "left right", best first
    std::optional<std::uint32_t> bos_token_id, eos_token_id, eot_token_id, eom_token_id, unknown_token_id;
    std::optional<std::uint32_t> fim_pad_token_id, fim_rep_token_id, fim_sep_token_id;
    std::optional<bool> add_bos_token, add_eos_token, add_space_prefix;
};

}  // namespace vigil
