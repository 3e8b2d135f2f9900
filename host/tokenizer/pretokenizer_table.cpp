// The pre-tokenizers that vigil knows. A new one is a row here; docs/tokenizer.md says how to test it.
//
// The patterns are those published with the models (tokenizer.json: Split, Digits and ByteLevel), except `default`,
// which is what llama.cpp does for a file that names no pre-tokenizer.
#include <algorithm>

#include "host/tokenizer/pretokenizer.h"

namespace vigil {
namespace {

constexpr std::string_view gpt2_words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Llama 3 and Qwen2 differ in how many digits make a word.
constexpr std::string_view llama3_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view qwen2_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

// A word may begin with capitals and go on in small letters, but no small letter is followed by a capital.
constexpr std::string_view tekken_words =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// DeepSeek LLM lists its cased letters one range at a time.
constexpr std::string_view deepseek_letters =
    R"(\s?[)"
    R"(A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1})"
    R"(\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5})"
    R"(\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77})"
    R"(\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D})"
    R"(\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE})"
    R"(\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC})"
    R"(\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124})"
    R"(\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E})"
    R"(\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})"
    R"(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF})"
    R"(\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F})"
    R"(\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF})"
    R"(\x{1E900}-\x{1E943})"
    R"(]+)";
constexpr std::string_view deepseek_punctuation =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
constexpr std::string_view deepseek_east_asian = R"([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";

}  // namespace

std::span<const PreTokenizerDefinition> pretokenizer_table() {
    static const std::vector<PreTokenizerDefinition> table = {
        {.name = "default",
         .aliases = {},
         .patterns = {R"([\p{P}\$\+<=>\^~\|]+)", gpt2_words, R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
        {.name = "gpt-2", .aliases = {}, .patterns = {gpt2_words}},
        {.name = "llama-bpe",
         .aliases = {"llama3", "llama-v3"},
         .patterns = {llama3_words},
         .ignore_merges = true,
         .add_bos = true},
        {.name = "qwen2", .aliases = {"deepseek-r1-qwen"}, .patterns = {qwen2_words}},
        {.name = "smollm", .aliases = {}, .patterns = {R"(\p{N})", gpt2_words}},
        {.name = "tekken", .aliases = {}, .patterns = {tekken_words}, .ignore_merges = true, .add_bos = true},
        {.name = "deepseek-llm",
         .aliases = {},
         .patterns = {R"([\r\n])", deepseek_letters, deepseek_punctuation, R"(\s+$)", deepseek_east_asian, R"(\p{N})"}},
    };
    return table;
}

const PreTokenizerDefinition* find_pretokenizer(std::string_view name) {
    for (const PreTokenizerDefinition& definition : pretokenizer_table()) {
        if (definition.name == name || std::ranges::find(definition.aliases, name) != definition.aliases.end()) {
            return &definition;
        }
    }
    return nullptr;
}

std::string known_pretokenizers() {
    std::string out;
    for (const PreTokenizerDefinition& definition : pretokenizer_table()) {
        if (!out.empty()) out += ", ";
        out += definition.name;
        for (std::size_t i = 0; i < definition.aliases.size(); ++i) {
            out += i == 0 ? " (" : ", ";
            out += definition.aliases[i];
        }
        if (!definition.aliases.empty()) out += ')';
    }
    return out;
}

}  // namespace vigil
