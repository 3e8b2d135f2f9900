#include "host/tokenizer/vocabulary.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <limits>

#include "host/tokenizer/quoted.h"

namespace vigil {
namespace {

const PreTokenizerDefinition* choose_kind(const TokenizerSpec& spec, const std::optional<std::string>& pre_override,
                                          std::vector<std::string>& warnings) {
    const std::string choices = known_pretokenizers();
    if (pre_override) {
        if (*pre_override == spm_name) return nullptr;
        if (const auto* definition = find_pretokenizer(*pre_override)) return definition;
        throw TokenizerError(
            fmt::format("--pre {} is unknown; known are {} and {}", quoted(*pre_override), choices, spm_name));
    }
    if (spec.model == "llama") return nullptr;
    if (spec.model != "gpt2") {
        throw TokenizerError(
            fmt::format("tokenizer.ggml.model = {} is unknown; known are gpt2 (BPE) and llama (SPM). --pre NAME reads "
                        "the vocabulary as {} or as BPE with one of {}",
                        quoted(spec.model), spm_name, choices));
    }
    if (!spec.pre || spec.pre->empty()) {
        warnings.emplace_back(
            "tokenizer.ggml.pre is missing: cutting words as 'default', which is probably not how the model was "
            "trained; --pre NAME chooses another");
        return find_pretokenizer("default");
    }
    if (const auto* definition = find_pretokenizer(*spec.pre)) return definition;
    throw TokenizerError(fmt::format("tokenizer.ggml.pre = {} is unknown; known are {}. --pre NAME chooses one of them",
                                     quoted(*spec.pre), choices));
}

void check_tokens(TokenizerSpec& spec, Vocabulary& vocabulary) {
    const std::size_t count = spec.tokens.size();
    if (count == 0 || count > std::size_t{std::numeric_limits<Token>::max()}) {
        throw TokenizerError(fmt::format("tokenizer.ggml.tokens has {} entries", count));
    }
    vocabulary.texts = std::move(spec.tokens);
    vocabulary.by_text.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        const std::string& text = vocabulary.texts[i];
        if (text.empty()) continue;  // some conversions pad the vocabulary so; nothing can match it
        const auto [it, inserted] = vocabulary.by_text.try_emplace(text, static_cast<Token>(i));
        if (!inserted) {
            throw TokenizerError(fmt::format("tokenizer.ggml.tokens[{}] = {} is there already, as token {}", i,
                                             quoted(text), it->second));
        }
    }
}

void check_size(const char* key, std::size_t size, const Vocabulary& vocabulary) {
    if (size != vocabulary.texts.size()) {
        throw TokenizerError(
            fmt::format("{} has {} entries, tokenizer.ggml.tokens has {}", key, size, vocabulary.texts.size()));
    }
}

void check_types(const TokenizerSpec& spec, Vocabulary& vocabulary) {
    vocabulary.types.assign(vocabulary.texts.size(), TokenType::normal);
    if (!spec.token_type) return;
    check_size("tokenizer.ggml.token_type", spec.token_type->size(), vocabulary);
    for (std::size_t i = 0; i < vocabulary.types.size(); ++i) {
        const std::int64_t type = (*spec.token_type)[i];
        const auto fail = [&](const std::string& why) {
            throw TokenizerError(fmt::format("tokenizer.ggml.token_type[{}] = {}{}", i, type, why));
        };
        if (type < 0 || type > static_cast<int>(TokenType::byte)) fail(" is no token type (0 to 6)");
        vocabulary.types[i] = static_cast<TokenType>(type);
        if (vocabulary.types[i] == TokenType::byte && named_byte(vocabulary.texts[i]) < 0) {
            fail(fmt::format(" (byte), but the token is {}, not <0x00> to <0xFF>", quoted(vocabulary.texts[i])));
        }
    }
}

void check_scores(const TokenizerSpec& spec, Vocabulary& vocabulary) {
    if (!vocabulary.is_spm()) return;
    if (!spec.scores) throw TokenizerError("tokenizer.ggml.scores is missing; an SPM vocabulary needs it");
    check_size("tokenizer.ggml.scores", spec.scores->size(), vocabulary);
    vocabulary.scores.reserve(spec.scores->size());
    for (std::size_t i = 0; i < spec.scores->size(); ++i) {
        const double score = (*spec.scores)[i];
        if (std::isnan(score)) {
            throw TokenizerError(fmt::format("tokenizer.ggml.scores[{}] is not a number", i));
        }
        vocabulary.scores.push_back(static_cast<float>(score));
    }
}

// A token id from the file, or the default of the kind if it exists in this vocabulary.
std::optional<Token> check_id(const char* name, std::optional<std::uint32_t> id, const Vocabulary& vocabulary,
                              std::optional<Token> fallback = {}) {
    const std::size_t count = vocabulary.texts.size();
    if (id && *id >= count) {
        throw TokenizerError(
            fmt::format("tokenizer.ggml.{} = {} is outside the vocabulary of {} tokens", name, *id, count));
    }
    if (id) return static_cast<Token>(*id);
    if (fallback && static_cast<std::size_t>(*fallback) < count) return fallback;
    return std::nullopt;
}

void check_bos_and_eos(const TokenizerSpec& spec, Vocabulary& vocabulary) {
    // SentencePiece numbers them so. For BPE llama.cpp falls back on Falcon's token 11; here there is then none.
    const auto fallback = [&](Token token) { return vocabulary.is_spm() ? std::optional(token) : std::nullopt; };
    vocabulary.bos = check_id("bos_token_id", spec.bos_token_id, vocabulary, fallback(1));
    vocabulary.eos = check_id("eos_token_id", spec.eos_token_id, vocabulary, fallback(2));
    vocabulary.unknown = check_id("unknown_token_id", spec.unknown_token_id, vocabulary, fallback(0));

    const bool adds_bos_by_default = vocabulary.is_spm() || vocabulary.pre->add_bos;
    vocabulary.add_bos = spec.add_bos_token.value_or(adds_bos_by_default && vocabulary.bos.has_value());
    vocabulary.add_eos = spec.add_eos_token.value_or(false);
    vocabulary.add_space_prefix = vocabulary.is_spm() && spec.add_space_prefix.value_or(true);
    if (vocabulary.add_bos && !vocabulary.bos) {
        throw TokenizerError("tokenizer.ggml.add_bos_token = true, but tokenizer.ggml.bos_token_id is missing");
    }
    if (vocabulary.add_eos && !vocabulary.eos) {
        throw TokenizerError("tokenizer.ggml.add_eos_token = true, but tokenizer.ggml.eos_token_id is missing");
    }
}

// Texts that end a generation wherever they are in a vocabulary. llama.cpp keeps the same list, since files seldom say
// which tokens beside EOS do; such a token counts as a control token whatever its type.
constexpr auto end_texts = std::to_array<std::string_view>({
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
});
// Fill-in-the-middle tokens that end a generation too, each unless the file names another.
constexpr auto fim_pad_texts =
    std::to_array<std::string_view>({"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"});
constexpr auto fim_rep_texts =
    std::to_array<std::string_view>({"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"});
constexpr auto fim_sep_texts = std::to_array<std::string_view>({"<|file_sep|>"});

void collect_end_of_generation(const TokenizerSpec& spec, Vocabulary& vocabulary) {
    std::vector<Token>& ends = vocabulary.end_of_generation;
    const auto add_text = [&](std::string_view text) {
        const Token token = find_text(vocabulary.by_text, text);
        if (token == no_token) return false;
        vocabulary.types[static_cast<std::size_t>(token)] = TokenType::control;
        ends.push_back(token);
        return true;
    };
    const auto add_id_or_text = [&](const char* name, std::optional<std::uint32_t> id, const auto& texts) {
        if (const auto token = check_id(name, id, vocabulary)) {
            ends.push_back(*token);
        } else {
            std::ranges::any_of(texts, add_text);
        }
    };
    for (const std::string_view text : end_texts) add_text(text);
    add_id_or_text("fim_pad_token_id", spec.fim_pad_token_id, fim_pad_texts);
    add_id_or_text("fim_rep_token_id", spec.fim_rep_token_id, fim_rep_texts);
    add_id_or_text("fim_sep_token_id", spec.fim_sep_token_id, fim_sep_texts);
    if (vocabulary.eos) ends.push_back(*vocabulary.eos);
    if (const auto eot = check_id("eot_token_id", spec.eot_token_id, vocabulary)) ends.push_back(*eot);
    if (const auto eom = check_id("eom_token_id", spec.eom_token_id, vocabulary)) ends.push_back(*eom);

    std::ranges::sort(ends);
    const auto repeated = std::ranges::unique(ends);
    ends.erase(repeated.begin(), repeated.end());
}

}  // namespace

int named_byte(std::string_view text) {
    if (text.size() != 6 || !text.starts_with("<0x") || !text.ends_with('>')) return -1;
    int byte = -1;
    const auto [end, error] = std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
    return error == std::errc{} && end == text.data() + 5 ? byte : -1;
}

Vocabulary check_vocabulary(TokenizerSpec& spec, const std::optional<std::string>& pre_override) {
    Vocabulary vocabulary;
    vocabulary.pre = choose_kind(spec, pre_override, vocabulary.warnings);
    check_tokens(spec, vocabulary);
    check_types(spec, vocabulary);
    check_scores(spec, vocabulary);
    check_bos_and_eos(spec, vocabulary);
    collect_end_of_generation(spec, vocabulary);
    return vocabulary;
}

}  // namespace vigil
