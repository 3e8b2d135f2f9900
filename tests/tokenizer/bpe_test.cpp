// The BPE rules, on a vocabulary small enough to follow by hand, and round trips through the golden vocabularies.
#include <atomic>
#include <doctest/doctest.h>
#include <random>
#include <thread>

#include "host/tokenizer/pretokenizer.h"
#include "host/tokenizer/utf8.h"
#include "tests/tokenizer/golden.h"
#include "tests/tokenizer/vocabularies.h"

using namespace vigil;
using namespace vigil::test;

using Ids = std::vector<Token>;

TEST_CASE("the best-ranked pair merges first, and of equals the leftmost") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    CHECK(tokenizer.encode("hello") == Ids{259});
    CHECK(tokenizer.encode("hello hello") == Ids{259, 260});
    CHECK(tokenizer.encode("hel") == Ids{256, 'l'});
    CHECK(tokenizer.encode("lll") == Ids{257, 'l'});
    CHECK(tokenizer.encode("hhell") == Ids{'h', 258});
    CHECK(tokenizer.encode("") == Ids{});
}

TEST_CASE("a word that repeats gets the tokens it got before") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    CHECK(tokenizer.encode("hel hel hel") == Ids{256, 'l', ' ', 256, 'l', ' ', 256, 'l'});
}

TEST_CASE("with ignore_merges a word that is a token needs no merges") {
    TokenizerSpec spec = small_bpe();
    spec.tokens.emplace_back("Ġxyz");
    spec.token_type->push_back(1);
    CHECK(Tokenizer::from_spec(spec, "gpt-2").encode(" xyz") == Ids{' ', 'x', 'y', 'z'});
    CHECK(Tokenizer::from_spec(spec, "llama-bpe").encode(" xyz", {.add_bos = false}) == Ids{263});
}

TEST_CASE("ignore_merges never turns text into a control token") {
    TokenizerSpec spec = small_bpe();
    spec.tokens.emplace_back("end");
    spec.token_type->push_back(3);
    const Tokenizer tokenizer = Tokenizer::from_spec(spec, "llama-bpe");
    CHECK(tokenizer.encode("end", {.add_bos = false, .parse_special = false}) == Ids{'e', 'n', 'd'});
    CHECK(tokenizer.encode("end", {.add_bos = false, .parse_special = true}) == Ids{263});
}

TEST_CASE("special tokens are parsed or read as text, as asked; user-defined ones are always parsed") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    CHECK(tokenizer.encode("hello<|im_end|>") == Ids{259, 261});
    CHECK(tokenizer.encode("<|im_end|>", {.parse_special = false}).size() == std::string("<|im_end|>").size());
    CHECK(tokenizer.encode("a<tool>b", {.parse_special = false}) == Ids{'a', 262, 'b'});
}

TEST_CASE("every invalid byte becomes one U+FFFD") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    CHECK(tokenizer.encode("a\xff"
                           "b") == tokenizer.encode("a\uFFFDb"));
    CHECK(tokenizer.encode("\xE2\x82") == tokenizer.encode("\uFFFD\uFFFD"));
    CHECK(tokenizer.encode("\xED\xA0\x80") == tokenizer.encode("\uFFFD\uFFFD\uFFFD"));
}

TEST_CASE("bytes that the vocabulary lacks are dropped") {
    TokenizerSpec spec = small_bpe();
    spec.tokens['x'] = "no longer x";
    CHECK(Tokenizer::from_spec(spec).encode("axb") == Ids{'a', 'b'});
}

TEST_CASE("BOS is added where the file or the pre-tokenizer asks for it, and the caller does not object") {
    TokenizerSpec spec = small_bpe();
    CHECK(Tokenizer::from_spec(spec).encode("h") == Ids{'h'});
    CHECK(Tokenizer::from_spec(spec, "llama-bpe").encode("h") == Ids{261, 'h'});
    CHECK(Tokenizer::from_spec(spec, "tekken").encode("h") == Ids{261, 'h'});
    spec.add_bos_token = true;
    spec.add_eos_token = true;
    CHECK(Tokenizer::from_spec(spec).encode("h") == Ids{261, 'h', 261});
    CHECK(Tokenizer::from_spec(spec).encode("h", {.add_bos = false}) == Ids{'h'});
    CHECK(Tokenizer::from_spec(spec).encode("") == Ids{261, 261});
    spec.add_bos_token = false;
    CHECK(Tokenizer::from_spec(spec, "llama-bpe").encode("h") == Ids{'h', 261});
}

TEST_CASE("several threads may encode with one tokenizer at once") {
    const Tokenizer tokenizer = load_vocabulary("llama-bpe");
    std::vector<Ids> expected;
    for (const std::string& text : golden_texts()) expected.push_back(tokenizer.encode(text));
    std::atomic<int> wrong = 0;
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                for (std::size_t i = 0; i < expected.size(); ++i) {
                    if (tokenizer.encode(golden_texts()[i]) != expected[i]) ++wrong;
                }
            });
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("decoding what was encoded gives the text back, for random UTF-8 under every pre-tokenizer") {
    std::mt19937 random(1);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    // Ranges that matter to some pattern: ASCII twice as often as the rest.
    constexpr std::pair<char32_t, char32_t> ranges[] = {
        {0, 0x7F},        {0x20, 0x7E},        {0x80, 0x24F},      {0x300, 0x36F},   {0x370, 0x52F},   {0x590, 0x6FF},
        {0x900, 0x97F},   {0x1E00, 0x206F},    {0x2070, 0x218F},   {0x2E80, 0x30FF}, {0x4E00, 0x9FFF}, {0xAC00, 0xD7FF},
        {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}, {0x1F300, 0x1FAFF}, {0x09, 0x0D},     {0x20, 0x20}};
    for (const PreTokenizerDefinition& definition : pretokenizer_table()) {
        CAPTURE(definition.name);
        const Tokenizer tokenizer = load_vocabulary(std::string(definition.name));
        for (int i = 0; i < 300; ++i) {
            std::string text;
            for (std::uint32_t n = below(40); n > 0; --n) {
                const auto [low, high] = ranges[below(std::size(ranges))];
                utf8::append(text, low + below(high - low + 1));
            }
            CAPTURE(text);
            CHECK(tokenizer.decode(tokenizer.encode(text, {.add_bos = false})) == text);
        }
    }
}
