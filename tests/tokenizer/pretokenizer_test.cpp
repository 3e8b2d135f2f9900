// Where the pre-tokenizers cut, and what the class does with patterns that are broken or explode.
#include "host/tokenizer/pretokenizer.h"

#include <doctest/doctest.h>

#include "host/tokenizer/token.h"

using namespace vigil;

namespace {

using Words = std::vector<std::string_view>;

Words split(std::string_view name, std::string_view text) {
    const PreTokenizerDefinition* definition = find_pretokenizer(name);
    REQUIRE(definition);
    return PreTokenizer(*definition).split(text);
}

}  // namespace

TEST_CASE("the pre-tokenizers differ in digits, capitals, contractions and line ends") {
    CHECK(split("gpt-2", "in 12345") == Words{"in", " 12345"});
    CHECK(split("smollm", "in 123") == Words{"in", " ", "1", "2", "3"});
    CHECK(split("llama-bpe", "in 12345") == Words{"in", " ", "123", "45"});
    CHECK(split("qwen2", "in 123") == Words{"in", " ", "1", "2", "3"});
    CHECK(split("default", "in 12345") == Words{"in", " ", "123", "45"});
    CHECK(split("tekken", "aBcDE fGH") == Words{"a", "Bc", "DE", " f", "GH"});
    CHECK(split("gpt-2", "IT'S it's") == Words{"IT", "'", "S", " it", "'s"});
    CHECK(split("llama-bpe", "IT'S it's") == Words{"IT", "'S", " it", "'s"});
    CHECK(split("qwen2", "a\n\n b") == Words{"a", "\n\n", " b"});
    CHECK(split("deepseek-llm", "a\n\nb 你好") == Words{"a", "\n", "\n", "b", " ", "你好"});
}

TEST_CASE("a name or any of its aliases finds a pre-tokenizer, another name none") {
    CHECK(find_pretokenizer("llama-bpe") == find_pretokenizer("llama3"));
    CHECK(find_pretokenizer("llama-bpe") == find_pretokenizer("llama-v3"));
    CHECK(find_pretokenizer("gpt2") == nullptr);
    CHECK(find_pretokenizer("") == nullptr);
    CHECK(known_pretokenizers() ==
          "default, gpt-2, llama-bpe (llama3, llama-v3), qwen2 (deepseek-r1-qwen), smollm, tekken, deepseek-llm");
}

TEST_CASE("the words of a text are the text, whatever it is") {
    const std::string_view texts[] = {
        "", " ", "\n\n \n", "a  b\t\r\n", "\u180E \u3000x\u0085", "👨‍👩‍👧‍👦 e\u0301", "'''"};
    for (const PreTokenizerDefinition& definition : pretokenizer_table()) {
        const PreTokenizer words(definition);
        for (const std::string_view text : texts) {
            std::string joined;
            for (const std::string_view word : words.split(text)) {
                CHECK(!word.empty());
                joined += word;
            }
            CHECK(joined == text);
        }
    }
}

TEST_CASE("U+180E is no white space, as Unicode has it") {
    CHECK(split("gpt-2", "a\u180E!") == Words{"a", "\u180E!"});
    CHECK(split("gpt-2", "a\u00A0\u00A0b") == Words{"a", "\u00A0", "\u00A0", "b"});
}

TEST_CASE("$ is the end of the text, not a line end before it") {
    const PreTokenizerDefinition trailing{.name = "trailing", .aliases = {}, .patterns = {" +$"}};
    CHECK(PreTokenizer(trailing).split("a  ") == Words{"a", "  "});
    CHECK(PreTokenizer(trailing).split("a  \n") == Words{"a  \n"});
}

TEST_CASE("a pattern that does not compile is refused with its place") {
    const PreTokenizerDefinition broken{.name = "broken", .aliases = {}, .patterns = {"a(b"}};
    CHECK_THROWS_WITH_AS(PreTokenizer{broken}, doctest::Contains("pre-tokenizer 'broken': pattern 'a(b'"),
                         TokenizerError);
}

TEST_CASE("a pattern that backtracks without end is stopped, not waited for") {
    const PreTokenizerDefinition explosive{.name = "explosive", .aliases = {}, .patterns = {"(?:a+)+[bd]"}};
    CHECK_THROWS_WITH_AS(PreTokenizer{explosive}.split(std::string(60, 'a') + "c"),
                         doctest::Contains("pre-tokenizer 'explosive': "), TokenizerError);
}
