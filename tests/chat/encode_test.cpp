// From spans to tokens: special tokens come from the template alone, BOS once.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "host/chat/chat_template.h"
#include "host/tokenizer/spec.h"
#include "tests/tokenizer/vocabularies.h"

using namespace vigil;
using namespace vigil::test;

namespace {

constexpr Token hello = 259, space_hello = 260, im_end = 261;  // of small_bpe()

std::vector<Token> plain(const Tokenizer& tokenizer, std::string_view text) {
    return tokenizer.encode(text, {.add_bos = false, .parse_special = false});
}

// small_bpe() with a further user-defined token, id 263.
Tokenizer with_user_defined(const std::string& text) {
    TokenizerSpec spec = small_bpe();
    spec.tokens.push_back(text);
    spec.token_type->push_back(4);
    return Tokenizer::from_spec(std::move(spec));
}

}  // namespace

TEST_CASE("a special token is read only where all of it is the template's") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    const auto encode = [&](std::vector<TemplateSpan> spans) { return encode_chat(tokenizer, spans); };
    CHECK(encode({{"<|im_end|>", false}}) == std::vector<Token>{im_end});
    CHECK(encode({{"<|im_end|>", true}}) == plain(tokenizer, "<|im_end|>"));
    CHECK(encode({{"<|im_end|", false}, {">", true}}) == plain(tokenizer, "<|im_end|>"));
    CHECK(encode({{"<", true}, {"|im_end|>", false}}) == plain(tokenizer, "<|im_end|>"));
    CHECK(encode({{"<|im", false}, {"_", true}, {"end|>", false}}) == plain(tokenizer, "<|im_end|>"));
    // An empty span of data between them takes nothing away.
    CHECK(encode({{"<|im_", false}, {"", true}, {"end|>", false}}) == std::vector<Token>{im_end});
    CHECK(encode({{"hello", true}, {"<|im_end|>", false}, {"hello", true}}) ==
          std::vector<Token>{hello, im_end, hello});
    CHECK(encode({{"x", true}, {"<|im_end|>", false}, {"<|im_end|>", true}, {"<|im_end|>", false}}).size() ==
          3 + plain(tokenizer, "<|im_end|>").size());
}

TEST_CASE("text of both kinds is one text to the tokenizer") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    const std::vector<TemplateSpan> spans = {{" he", false}, {"ll", true}, {"o", false}, {"", true}};
    CHECK(encode_chat(tokenizer, spans) == std::vector<Token>{space_hello});
    CHECK(encode_chat(tokenizer, {}).empty());
}

TEST_CASE("user-defined tokens that steer the model are the template's too; others are ordinary text") {
    for (const char* marker : {"<|user|>", "<start_of_turn>", "[INST]", "<｜User｜>"}) {
        const Tokenizer tokenizer = with_user_defined(marker);
        CHECK(encode_chat(tokenizer, std::vector<TemplateSpan>{{marker, false}}) == std::vector<Token>{263});
        CHECK(encode_chat(tokenizer, std::vector<TemplateSpan>{{marker, true}}).size() > 1);
    }
    for (const char* text : {"\n\n\n", "<table>", "</td>"}) {
        const Tokenizer tokenizer = with_user_defined(text);
        CHECK(encode_chat(tokenizer, std::vector<TemplateSpan>{{text, true}}) == std::vector<Token>{263});
    }
}

TEST_CASE("BOS stands in front once, whether or not the template prints it") {
    TokenizerSpec spec = small_bpe();
    spec.add_bos_token = true;
    spec.add_eos_token = true;
    const Tokenizer tokenizer = Tokenizer::from_spec(std::move(spec));
    CHECK(encode_chat(tokenizer, std::vector<TemplateSpan>{{"hello", true}}) == std::vector<Token>{im_end, hello});
    CHECK(encode_chat(tokenizer, std::vector<TemplateSpan>{{"<|im_end|>hello", false}}) ==
          std::vector<Token>{im_end, hello});
    CHECK(encode_chat(tokenizer, std::vector<TemplateSpan>{{"<|im_end|>", true}}).front() == im_end);
    CHECK(encode_chat(tokenizer, std::vector<TemplateSpan>{{"<|im_end|>", true}}).size() ==
          1 + plain(tokenizer, "<|im_end|>").size());
    CHECK(encode_chat(tokenizer, {}) == std::vector<Token>{im_end});
}
