// Text to token ids and back, from the vocabulary and rules in a GGUF file's metadata.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "host/gguf/gguf.h"

namespace vigil {

using Token = std::int32_t;

class TokenizerError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

struct EncodeOptions {
    bool add_bos = true;        // prepend BOS (append EOS) where the model asks for it
    bool parse_special = true;  // text that spells a special token becomes that token
};

class Tokenizer {
   public:
    // Reads tokenizer.ggml.*; `pre_override` replaces an unknown tokenizer.ggml.pre. Throws TokenizerError.
    static Tokenizer from_gguf(const gguf::File& file, std::optional<std::string> pre_override = {});

    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    // `text` is UTF-8; invalid bytes are tokenised as bytes, never rejected.
    std::vector<Token> encode(std::string_view text, const EncodeOptions& options = {}) const;

    // The bytes of one token. Control tokens give their text only if `with_special`.
    std::string piece(Token token, bool with_special = false) const;
    std::string decode(std::span<const Token> tokens, bool with_special = false) const;

    std::int32_t vocab_size() const noexcept;
    std::optional<Token> bos() const noexcept;
    std::optional<Token> eos() const noexcept;
    // Every token that ends a generation: eos, eot, eom and the like.
    std::span<const Token> end_of_generation() const noexcept;
    bool is_control(Token token) const;

   private:
    struct Impl;
    explicit Tokenizer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Decodes a stream of tokens without ever emitting part of a UTF-8 sequence.
class StreamingDecoder {
   public:
    explicit StreamingDecoder(const Tokenizer& tokenizer, bool with_special = false);
    // The text that became complete with `token`; may be empty.
    std::string push(Token token);
    // What is left; an unfinished sequence becomes U+FFFD.
    std::string finish();

   private:
    const Tokenizer* tokenizer_;
    bool with_special_;
    bool at_start_ = true;
    std::string pending_;
};

}  // namespace vigil
