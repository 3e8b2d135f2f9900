#include "bench/synth/vocabulary.h"

#include <array>
#include <fmt/format.h>
#include <string_view>
#include <utility>

namespace vigil::synth {
namespace {

// Ġ is GPT-2's letter for a space. Every part of a merge is a byte or the result of an earlier merge.
constexpr std::array<std::pair<std::string_view, std::string_view>, 40> merge_table{{
    {"Ġ", "t"}, {"Ġ", "a"},  {"h", "e"},   {"i", "n"}, {"r", "e"},  {"o", "n"}, {"Ġt", "he"}, {"e", "r"},
    {"Ġ", "s"}, {"a", "t"},  {"Ġ", "w"},   {"Ġ", "o"}, {"e", "n"},  {"Ġ", "c"}, {"i", "t"},   {"i", "s"},
    {"a", "n"}, {"o", "r"},  {"e", "s"},   {"Ġ", "b"}, {"e", "d"},  {"Ġ", "f"}, {"in", "g"},  {"Ġ", "p"},
    {"o", "u"}, {"Ġa", "n"}, {"a", "l"},   {"a", "r"}, {"Ġt", "o"}, {"Ġ", "m"}, {"Ġo", "f"},  {"Ġ", "in"},
    {"Ġ", "d"}, {"Ġ", "h"},  {"Ġan", "d"}, {"i", "c"}, {"a", "s"},  {"l", "e"}, {"Ġt", "h"},  {"i", "on"},
}};

constexpr std::string_view end_of_text = "<|endoftext|>";
constexpr std::string_view start_of_turn = "<|im_start|>";
constexpr std::string_view end_of_turn = "<|im_end|>";

static_assert(256 + merge_table.size() + 3 <= least_vocab_size);

std::string utf8(unsigned code_point) {
    if (code_point < 0x80) return {static_cast<char>(code_point)};
    return {static_cast<char>(0xc0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3f))};
}

// GPT-2 writes printable bytes as themselves and the others, in order, as the code points from 256 up.
bool is_printable(unsigned byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

}  // namespace

Vocabulary make_vocabulary(std::uint32_t size) {
    Vocabulary vocabulary;
    const auto add = [&](std::string token, TokenType type) {
        vocabulary.tokens.push_back(std::move(token));
        vocabulary.types.push_back(static_cast<std::int32_t>(type));
        return static_cast<std::uint32_t>(vocabulary.tokens.size() - 1);
    };
    for (unsigned byte = 0; byte < 256; ++byte) {
        if (is_printable(byte)) add(utf8(byte), TokenType::normal);
    }
    unsigned next_code_point = 256;
    for (unsigned byte = 0; byte < 256; ++byte) {
        if (!is_printable(byte)) add(utf8(next_code_point++), TokenType::normal);
    }
    for (const auto& [left, right] : merge_table) {
        vocabulary.merges.push_back(fmt::format("{} {}", left, right));
        add(fmt::format("{}{}", left, right), TokenType::normal);
    }
    vocabulary.end_of_text = add(std::string(end_of_text), TokenType::control);
    add(std::string(start_of_turn), TokenType::control);
    vocabulary.end_of_turn = add(std::string(end_of_turn), TokenType::control);
    while (vocabulary.tokens.size() < size) {
        add(fmt::format("<|unused_{}|>", vocabulary.tokens.size()), TokenType::unused);
    }
    return vocabulary;
}

}  // namespace vigil::synth
