#include "host/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <unordered_map>

#include "host/tokenizer/bpe.h"
#include "host/tokenizer/byte_alphabet.h"
#include "host/tokenizer/gguf_spec.h"
#include "host/tokenizer/pretokenizer.h"
#include "host/tokenizer/special_tokens.h"
#include "host/tokenizer/spm.h"
#include "host/tokenizer/utf8.h"
#include "host/tokenizer/vocabulary.h"

namespace vigil {
namespace {

constexpr std::string_view spm_blank = "\xE2\x96\x81";  // U+2581, how SPM writes a space

// Symbols are indexed with 32 bits, and SPM writes a space with three bytes.
constexpr std::size_t longest_text = std::size_t{1} << 30;

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t done = 0; done < text.size();) {
        const std::size_t found = std::min(text.find(from, done), text.size());
        out += text.substr(done, found - done);
        if (found < text.size()) out += to;
        done = found + from.size();
    }
    return out;
}

SpecialTokens collect_special_tokens(const Vocabulary& vocabulary) {
    SpecialTokens special;
    for (std::size_t i = 0; i < vocabulary.texts.size(); ++i) {
        const TokenType type = vocabulary.types[i];
        if (type == TokenType::control || type == TokenType::unknown || type == TokenType::user_defined) {
            special.add(vocabulary.texts[i], static_cast<Token>(i), type == TokenType::user_defined);
        }
    }
    return special;
}

// Pre-tokenizer and merges.
class BpeEncoder {
   public:
    BpeEncoder(const Vocabulary& vocabulary, const std::vector<std::string>& merges)
        : words_(*vocabulary.pre),
          bpe_(vocabulary.by_text, merges, vocabulary.pre->ignore_merges, whole_words(vocabulary)) {}

    void encode(std::string_view text, std::vector<Token>& out) const {
        std::string repaired;
        if (!utf8::is_valid(text)) {
            repaired = utf8::replace_invalid_bytes(text);
            text = repaired;
        }
        // Text repeats its words, so most are looked up here: where in `out` their tokens stand already.
        struct Range {
            std::size_t begin, count;
        };
        constexpr std::size_t longest_cached_word = 32;
        constexpr std::size_t most_cached_words = 1 << 16;
        std::unordered_map<std::string_view, Range> done;
        for (const std::string_view word : words_.split(text)) {
            const std::size_t begin = out.size();
            if (word.size() > longest_cached_word) {
                bpe_.encode_word(word, out);
                continue;
            }
            if (const auto it = done.find(word); it != done.end()) {
                for (std::size_t i = 0; i < it->second.count; ++i) out.push_back(out[it->second.begin + i]);
                continue;
            }
            bpe_.encode_word(word, out);
            if (done.size() < most_cached_words) done.try_emplace(word, Range{begin, out.size() - begin});
        }
    }

   private:
    // The tokens that a word may be as a whole. Control tokens are none of them: text must not turn into one unasked.
    static TextIndex whole_words(const Vocabulary& vocabulary) {
        TextIndex index;
        if (!vocabulary.pre->ignore_merges) return index;
        index.reserve(vocabulary.texts.size());
        for (std::size_t i = 0; i < vocabulary.texts.size(); ++i) {
            if (vocabulary.types[i] != TokenType::normal) continue;
            if (auto word = byte_alphabet::read(vocabulary.texts[i])) {
                index.try_emplace(std::move(*word), static_cast<Token>(i));
            }
        }
        return index;
    }

    PreTokenizer words_;
    Bpe bpe_;
};

Spm make_spm(const Vocabulary& vocabulary) {
    TextIndex pieces;
    pieces.reserve(vocabulary.texts.size());
    for (std::size_t i = 0; i < vocabulary.texts.size(); ++i) {
        const TokenType type = vocabulary.types[i];
        const bool writable = type != TokenType::control && type != TokenType::unknown && type != TokenType::byte;
        if (writable && !vocabulary.texts[i].empty()) pieces.try_emplace(vocabulary.texts[i], static_cast<Token>(i));
    }
    std::array<Token, 256> byte_tokens{};
    byte_tokens.fill(vocabulary.unknown.value_or(0));
    for (std::size_t i = 0; i < vocabulary.texts.size(); ++i) {
        const int byte = named_byte(vocabulary.texts[i]);
        if (byte >= 0) byte_tokens[static_cast<std::size_t>(byte)] = static_cast<Token>(i);
    }
    return {std::move(pieces), vocabulary.scores, byte_tokens};
}

}  // namespace

struct Tokenizer::Impl {
    Vocabulary vocabulary;
    SpecialTokens special;
    std::optional<BpeEncoder> bpe;  // one of the two
    std::optional<Spm> spm;

    std::vector<Token> encode(std::string_view text, std::span<const SpecialTokens::Range> literal,
                              const EncodeOptions& options) const;
    void check(Token token) const {
        if (token < 0 || static_cast<std::size_t>(token) >= vocabulary.texts.size()) {
            throw TokenizerError(
                fmt::format("token {} is outside the vocabulary of {} tokens", token, vocabulary.texts.size()));
        }
    }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_gguf(const gguf::File& file, const std::optional<std::string>& pre_override) {
    TokenizerSpec spec;
    try {
        spec = read_tokenizer_spec(file);
    } catch (const gguf::Error& error) {
        throw TokenizerError(error.what());
    }
    try {
        return from_spec(std::move(spec), pre_override);
    } catch (const TokenizerError& error) {
        throw TokenizerError(file.error(error.what()).what());
    }
}

Tokenizer Tokenizer::from_spec(TokenizerSpec spec, const std::optional<std::string>& pre_override) {
    auto impl = std::make_unique<Impl>();
    impl->vocabulary = check_vocabulary(spec, pre_override);
    impl->special = collect_special_tokens(impl->vocabulary);
    if (impl->vocabulary.is_spm()) {
        impl->spm.emplace(make_spm(impl->vocabulary));
    } else {
        if (!spec.merges) throw TokenizerError("tokenizer.ggml.merges is missing; a BPE vocabulary needs it");
        impl->bpe.emplace(impl->vocabulary, *spec.merges);
    }
    return Tokenizer(std::move(impl));
}

std::vector<Token> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
    return impl_->encode(text, {}, options);
}

std::vector<Token> Tokenizer::encode(std::span<const TextSpan> spans, const EncodeOptions& options) const {
    std::string text;
    std::vector<SpecialTokens::Range> literal;
    for (const TextSpan& span : spans) {
        if (span.literal && !span.text.empty()) literal.push_back({text.size(), text.size() + span.text.size()});
        text += span.text;
    }
    return impl_->encode(text, literal, options);
}

std::vector<Token> Tokenizer::Impl::encode(std::string_view text, std::span<const SpecialTokens::Range> literal,
                                           const EncodeOptions& options) const {
    if (text.size() > longest_text) {
        throw TokenizerError(
            fmt::format("a text of {} bytes is longer than the limit of {}", text.size(), longest_text));
    }
    std::vector<Token> out;
    if (options.add_bos && vocabulary.add_bos) out.push_back(*vocabulary.bos);
    bool after_special = true;  // the start of the text counts as such
    for (const SpecialTokens::Segment& segment : special.split(text, options.parse_special, literal)) {
        if (segment.token != no_token) {
            out.push_back(segment.token);
        } else if (bpe) {
            bpe->encode(segment.text, out);
        } else {
            std::string blanks = replace_all(segment.text, " ", spm_blank);
            if (vocabulary.add_space_prefix && after_special) blanks.insert(0, spm_blank);
            spm->encode(blanks, out);
        }
        after_special = segment.token != no_token;
    }
    if (options.add_bos && vocabulary.add_eos) out.push_back(*vocabulary.eos);
    return out;
}

std::string Tokenizer::piece(Token token, bool with_special) const {
    impl_->check(token);
    const Vocabulary& vocabulary = impl_->vocabulary;
    const std::string& text = vocabulary.text(token);
    switch (vocabulary.type(token)) {
        case TokenType::control:
        case TokenType::unknown:
            return with_special ? text : std::string();
        case TokenType::user_defined:
            return text;
        case TokenType::byte:
            return {static_cast<char>(named_byte(text))};
        case TokenType::normal:
            if (vocabulary.is_spm()) return replace_all(text, spm_blank, " ");
            return byte_alphabet::read(text).value_or(text);
        case TokenType::undefined:
        case TokenType::unused:
            break;
    }
    return {};
}

std::string Tokenizer::decode(std::span<const Token> tokens, bool with_special) const {
    StreamingDecoder decoder(*this, with_special);
    std::string out;
    for (const Token token : tokens) out += decoder.push(token);
    return out + decoder.finish();
}

std::int32_t Tokenizer::vocab_size() const noexcept {
    return static_cast<std::int32_t>(impl_->vocabulary.texts.size());
}
std::optional<Token> Tokenizer::bos() const noexcept {
    return impl_->vocabulary.bos;
}
std::optional<Token> Tokenizer::eos() const noexcept {
    return impl_->vocabulary.eos;
}
bool Tokenizer::adds_bos() const noexcept {
    return impl_->vocabulary.add_bos;
}
bool Tokenizer::adds_eos() const noexcept {
    return impl_->vocabulary.add_eos;
}
bool Tokenizer::drops_leading_space() const noexcept {
    return impl_->vocabulary.add_space_prefix;
}
std::span<const Token> Tokenizer::end_of_generation() const noexcept {
    return impl_->vocabulary.end_of_generation;
}
std::span<const std::string> Tokenizer::warnings() const noexcept {
    return impl_->vocabulary.warnings;
}

std::string_view Tokenizer::kind() const noexcept {
    return impl_->vocabulary.is_spm() ? spm_name : impl_->vocabulary.pre->name;
}

bool Tokenizer::is_control(Token token) const {
    impl_->check(token);
    return impl_->vocabulary.type(token) == TokenType::control;
}

}  // namespace vigil
