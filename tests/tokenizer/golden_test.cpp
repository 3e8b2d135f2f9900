// Token ids equal to those of llama.cpp and of `tokenizers`, for every kind of vocabulary, under tiny vocabularies.
#include "tests/tokenizer/golden.h"

#include <doctest/doctest.h>

#include "host/tokenizer/pretokenizer.h"
#include "host/tokenizer/utf8.h"

using namespace vigil;
using namespace vigil::test;

TEST_CASE("ids under every pre-tokenizer's vocabulary are the golden ones") {
    for (const PreTokenizerDefinition& definition : pretokenizer_table()) {
        const std::string name(definition.name);
        CAPTURE(name);
        const Tokenizer tokenizer = load_vocabulary(name);
        CHECK(tokenizer.kind() == name);
        check_against(load_golden(name), tokenizer);
    }
}

TEST_CASE("ids under an SPM vocabulary are the golden ones") {
    const Tokenizer tokenizer = load_vocabulary("spm");
    CHECK(tokenizer.kind() == "spm");
    check_against(load_golden("spm"), tokenizer);
}

TEST_CASE("every pre-tokenizer cuts the words that `tokenizers` cuts") {
    for (const PreTokenizerDefinition& definition : pretokenizer_table()) {
        const std::string name(definition.name);
        CAPTURE(name);
        const PreTokenizer words(definition);
        const Golden golden = load_golden(name);
        REQUIRE(golden.words.size() == golden_texts().size());
        for (std::size_t i = 0; i < golden.words.size(); ++i) {
            if (!golden.words[i]) continue;
            CAPTURE(golden_texts()[i]);
            std::vector<std::size_t> ends;
            std::size_t end = 0;
            for (const std::string_view word : words.split(golden_texts()[i])) ends.push_back(end += word.size());
            CHECK(ends == *golden.words[i]);
        }
    }
}

TEST_CASE("no two pre-tokenizers cut all golden texts alike") {
    // Otherwise the golden words could not tell one row of the table from another.
    std::vector<std::vector<std::vector<std::string_view>>> cuts;
    for (const PreTokenizerDefinition& definition : pretokenizer_table()) {
        const PreTokenizer words(definition);
        std::vector<std::vector<std::string_view>> cut;
        for (const std::string& text : golden_texts()) {
            if (utf8::is_valid(text)) cut.push_back(words.split(text));
        }
        for (const auto& other : cuts) CHECK(cut != other);
        cuts.push_back(std::move(cut));
    }
}
