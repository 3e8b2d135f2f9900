// Text to token ids and back, from the vocabulary and rules in a GGUF file's metadata.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host/gguf/gguf.h"
#include "host/tokenizer/token.h"

namespace vigil {

struct TokenizerSpec;

struct EncodeOptions {
    bool add_bos = true;        // prepend BOS (append EOS) where the model asks for it
    bool parse_special = true;  // text that spells a special token becomes that token
};

// A stretch of a text to be encoded. `literal`: it came from outside, so no special token may begin, end or lie in it.
struct TextSpan {
    std::string_view text;
    bool literal = false;
};

class Tokenizer {
   public:
    // Reads tokenizer.ggml.*. `pre_override` decides how the vocabulary is read in place of tokenizer.ggml.model and
    // tokenizer.ggml.pre: the name of a pre-tokenizer (BPE) or "spm". Throws TokenizerError naming file, key and value.
    static Tokenizer from_gguf(const gguf::File& file, const std::optional<std::string>& pre_override = {});
    // The same from plain data (host/tokenizer/spec.h).
    static Tokenizer from_spec(TokenizerSpec spec, const std::optional<std::string>& pre_override = {});

    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    // `text` is UTF-8. Invalid bytes are never rejected: each becomes U+FFFD (BPE) or its byte token (SPM). Throws
    // TokenizerError for a text over 1 GiB. Safe to call from several threads, like every const member.
    std::vector<Token> encode(std::string_view text, const EncodeOptions& options = {}) const;
    // The same for a text in spans of which some are literal. The spans' borders leave no other mark: what stands
    // between special tokens is encoded as one.
    std::vector<Token> encode(std::span<const TextSpan> spans, const EncodeOptions& options = {}) const;

    // The bytes of one token, perhaps part of a UTF-8 sequence. Control and unknown tokens give their text only if
    // `with_special`. Throws TokenizerError for an id outside the vocabulary, as do decode and is_control.
    std::string piece(Token token, bool with_special = false) const;
    // The text of all of them as StreamingDecoder gives it: always valid UTF-8.
    std::string decode(std::span<const Token> tokens, bool with_special = false) const;

    std::int32_t vocab_size() const noexcept;
    std::optional<Token> bos() const noexcept;
    std::optional<Token> eos() const noexcept;
    // Whether encode prepends BOS and appends EOS when asked to add what the model wants.
    bool adds_bos() const noexcept;
    bool adds_eos() const noexcept;
    // Whether decoding drops one space at the start, because encoding put it there (SPM).
    bool drops_leading_space() const noexcept;
    // Every token that ends a generation: eos, eot, eom and the like.
    std::span<const Token> end_of_generation() const noexcept;
    bool is_control(Token token) const;
    // "spm", or the name of the pre-tokenizer of a BPE vocabulary.
    std::string_view kind() const noexcept;
    // What had to be guessed about this file, in sentences for the user.
    std::span<const std::string> warnings() const noexcept;

   private:
    struct Impl;
    explicit Tokenizer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Decodes a stream of tokens without ever emitting part of a UTF-8 sequence. Bytes that can no longer become one are
// emitted as U+FFFD at once, so at most three bytes are ever held back. `tokenizer` must outlive it.
class StreamingDecoder {
   public:
    // `at_start` false: the stream continues a text, so its first space stays.
    explicit StreamingDecoder(const Tokenizer& tokenizer, bool with_special = false, bool at_start = true);
    // The text that became complete with `token`; may be empty.
    std::string push(Token token);
    // What is left; an unfinished sequence becomes U+FFFD.
    std::string finish();

   private:
    const Tokenizer* tokenizer_;
    bool with_special_;
    bool at_start_;
    std::string pending_;
};

}  // namespace vigil
