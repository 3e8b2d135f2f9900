// The SPM rules, on a vocabulary small enough to follow by hand.
#include <doctest/doctest.h>

#include "host/tokenizer/utf8.h"
#include "tests/tokenizer/golden.h"
#include "tests/tokenizer/vocabularies.h"

using namespace vigil;
using namespace vigil::test;

using Ids = std::vector<Token>;

namespace {

TokenizerSpec without_prefix() {
    TokenizerSpec spec = small_spm();
    spec.add_space_prefix = false;
    return spec;
}

constexpr EncodeOptions no_bos{.add_bos = false};

}  // namespace

TEST_CASE("the pair with the best score merges first, whatever its place") {
    const Tokenizer tokenizer = Tokenizer::from_spec(without_prefix());
    CHECK(tokenizer.encode("abc", no_bos) == Ids{spm_ab, spm_c});
    CHECK(tokenizer.encode("bc", no_bos) == Ids{spm_bc});
    CHECK(tokenizer.encode(" ab", no_bos) == Ids{spm_blank_ab});
    TokenizerSpec spec = without_prefix();
    std::swap((*spec.scores)[spm_ab], (*spec.scores)[spm_bc]);
    CHECK(Tokenizer::from_spec(spec).encode("abc", no_bos) == Ids{spm_a, spm_bc});
}

TEST_CASE("text without a piece falls back to its bytes, and invalid bytes to themselves") {
    const Tokenizer tokenizer = Tokenizer::from_spec(without_prefix());
    CHECK(tokenizer.encode("é", no_bos) == Ids{spm_first_byte + 0xC3, spm_first_byte + 0xA9});
    CHECK(tokenizer.encode("\n", no_bos) == Ids{spm_first_byte + '\n'});
    CHECK(tokenizer.encode("\xff"
                           "a",
                           no_bos) == Ids{spm_first_byte + 0xFF, spm_a});
    CHECK(tokenizer.encode("\xE2"
                           "ab",
                           no_bos) == Ids{spm_first_byte + 0xE2, spm_ab});
}

TEST_CASE("a byte without a byte token is the unknown token") {
    TokenizerSpec spec = without_prefix();
    spec.tokens[spm_first_byte + 'z'] = "no byte";
    (*spec.token_type)[spm_first_byte + 'z'] = 1;
    CHECK(Tokenizer::from_spec(spec).encode("z", no_bos) == Ids{0});
}

TEST_CASE("a space goes before the text and after each special token, unless the file says no") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_spm());
    CHECK(tokenizer.encode("ab") == Ids{1, spm_blank_ab});
    CHECK(tokenizer.encode("ab</s>a", no_bos) == Ids{spm_blank_ab, 2, spm_blank_a});
    CHECK(tokenizer.encode("") == Ids{1});
    CHECK(Tokenizer::from_spec(without_prefix()).encode("ab</s>a", no_bos) == Ids{spm_ab, 2, spm_a});
}

TEST_CASE("text that spells a control or byte token is not that token unless asked for") {
    const Tokenizer tokenizer = Tokenizer::from_spec(without_prefix());
    CHECK(tokenizer.encode("</s>", no_bos) == Ids{2});
    CHECK(tokenizer.encode("</s>", {.add_bos = false, .parse_special = false}).size() == 4);
    CHECK(tokenizer.encode("<0x0A>", no_bos).size() == 6);
}

TEST_CASE("SPM adds BOS and no EOS by default, with SentencePiece's numbers where the file gives none") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_spm());
    CHECK(tokenizer.bos() == 1);
    CHECK(tokenizer.eos() == 2);
    CHECK(tokenizer.encode("a") == Ids{1, spm_blank_a});
    TokenizerSpec spec = small_spm();
    spec.add_bos_token = false;
    spec.add_eos_token = true;
    CHECK(Tokenizer::from_spec(spec).encode("a") == Ids{spm_blank_a, 2});
}

TEST_CASE("decoding drops the space that encoding put before the text, and no other") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_spm());
    CHECK(tokenizer.decode(Ids{spm_blank_ab, spm_blank_a}) == "ab a");
    CHECK(tokenizer.decode(Ids{1, spm_blank_ab}) == "ab");
    CHECK(tokenizer.decode(Ids{spm_blank, spm_blank_ab}) == " ab");
    CHECK(tokenizer.decode(tokenizer.encode("  ab")) == "  ab");
    CHECK(tokenizer.piece(spm_blank_ab) == " ab");
    CHECK(Tokenizer::from_spec(without_prefix()).decode(Ids{spm_blank_ab}) == " ab");
}

TEST_CASE("decoding what was encoded gives every golden text back that is valid UTF-8") {
    const Tokenizer tokenizer = load_vocabulary("spm");
    for (const std::string& text : golden_texts()) {
        // SPM cannot tell ▁ from a space, and puts one more space after a special token.
        const bool ambiguous = text.find("▁") != std::string::npos || text.find("<tool") != std::string::npos;
        if (ambiguous || !utf8::is_valid(text)) continue;
        CAPTURE(text);
        CHECK(tokenizer.decode(tokenizer.encode(text, {.parse_special = false})) == text);
    }
}
