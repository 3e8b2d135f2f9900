// Time: a megabyte of anything takes seconds at most, also where a quadratic algorithm would take hours.
#include <chrono>
#include <doctest/doctest.h>

#include "host/tokenizer/pretokenizer.h"
#include "tests/tokenizer/golden.h"

using namespace vigil;
using namespace vigil::test;

namespace {

std::string repeat(std::string_view part, std::size_t bytes) {
    std::string out;
    while (out.size() < bytes) out += part;
    return out;
}

double seconds_to_encode(const Tokenizer& tokenizer, std::string_view text) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Token> ids = tokenizer.encode(text);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    CHECK(!ids.empty());
    return seconds;
}

}  // namespace

TEST_CASE("a megabyte without a word break is encoded in seconds by every kind") {
    constexpr std::size_t megabyte = 1 << 20;
    const std::vector<std::pair<const char*, std::string>> texts = {
        {"one small letter", repeat("a", megabyte)},
        {"one capital", repeat("A", megabyte)},
        {"letters", repeat("thetokenizercutsatextintowords", megabyte)},
        {"Chinese", repeat("人工智能正在改变世界", megabyte)},
        {"Hangul", repeat("안녕하세요", megabyte)},
        {"digits", repeat("1234567890", megabyte)},
        {"spaces", repeat(" ", megabyte)},
        {"spaces, then a character", repeat(" ", megabyte) + "가"},
        {"line ends", repeat("\n", megabyte)},
        {"blanks and line ends", repeat(" \n", megabyte)},
        {"punctuation", repeat("!?", megabyte)},
        {"combining marks", repeat("\u0301", megabyte)},
        {"emoji", repeat("👨‍👩‍👧‍👦", megabyte)},
        {"half a special token", repeat("<|im_", megabyte)},
        {"special tokens", repeat("<|im_end|>", megabyte)},
        {"invalid bytes", repeat("\xff", megabyte)},
    };
    std::vector<std::string> names = {"spm"};
    for (const PreTokenizerDefinition& definition : pretokenizer_table()) names.emplace_back(definition.name);
    for (const std::string& name : names) {
        const Tokenizer tokenizer = load_vocabulary(name);
        for (const auto& [what, text] : texts) {
            CAPTURE(name);
            CAPTURE(what);
            CHECK(seconds_to_encode(tokenizer, text) < 10.0);
        }
    }
}
