// Streaming: what is emitted is always valid UTF-8, comes as early as it can, and adds up to the batch decode.
#include <doctest/doctest.h>
#include <random>

#include "host/tokenizer/utf8.h"
#include "tests/tokenizer/golden.h"
#include "tests/tokenizer/vocabularies.h"

using namespace vigil;
using namespace vigil::test;

using Ids = std::vector<Token>;

TEST_CASE("a sequence cut by token borders is held back until it is whole") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    StreamingDecoder decoder(tokenizer);
    CHECK(decoder.push('a') == "a");
    CHECK(decoder.push(0xF0) == "");
    CHECK(decoder.push(0x9F) == "");
    CHECK(decoder.push(0x98) == "");
    CHECK(decoder.push(0x80) == "😀");
    CHECK(decoder.push(259) == "hello");
    CHECK(decoder.finish() == "");
}

TEST_CASE("bytes that can no longer become a character are replaced at once") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    StreamingDecoder decoder(tokenizer);
    CHECK(decoder.push(0xFF) == "\uFFFD");
    CHECK(decoder.push(0x80) == "\uFFFD");
    CHECK(decoder.push(0xE2) == "");
    CHECK(decoder.push(0x82) == "");
    CHECK(decoder.push('a') == "\uFFFDa");
    CHECK(decoder.push(0xF0) == "");
    CHECK(decoder.push(0xF0) == "\uFFFD");
    CHECK(decoder.finish() == "\uFFFD");
    CHECK(decoder.finish() == "");
}

TEST_CASE("a control token says nothing unless asked for, and interrupts no sequence") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    CHECK(tokenizer.decode(Ids{'a', 261, 'b'}) == "ab");
    CHECK(tokenizer.decode(Ids{'a', 261, 'b'}, true) == "a<|im_end|>b");
    CHECK(tokenizer.decode(Ids{'a', 262, 'b'}) == "a<tool>b");
    CHECK(tokenizer.decode(Ids{0xC3, 261, 0xA4}) == "ä");
    CHECK(tokenizer.is_control(261));
    CHECK_FALSE(tokenizer.is_control(262));
}

TEST_CASE("a stream that continues a text keeps its first space") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_spm());
    StreamingDecoder fresh(tokenizer);
    CHECK(fresh.push(1) == "");
    CHECK(fresh.push(spm_blank_ab) == "ab");
    CHECK(fresh.push(spm_blank_ab) == " ab");
    StreamingDecoder continued(tokenizer, false, false);
    CHECK(continued.push(spm_blank_ab) == " ab");
}

TEST_CASE("tokens outside the vocabulary are refused by number") {
    const Tokenizer tokenizer = Tokenizer::from_spec(small_bpe());
    for (const Token token : {-1, 263, 1 << 30}) {
        CHECK_THROWS_WITH_AS(tokenizer.piece(token), doctest::Contains(std::to_string(token).c_str()), TokenizerError);
        CHECK_THROWS_AS(tokenizer.decode(Ids{'a', token}), TokenizerError);
        CHECK_THROWS_AS(tokenizer.is_control(token), TokenizerError);
    }
}

TEST_CASE("random tokens, streamed: every chunk is valid UTF-8, and the chunks are the batch decode") {
    std::mt19937 random(2);
    for (const char* name : {"llama-bpe", "smollm", "spm"}) {
        const Tokenizer tokenizer = load_vocabulary(name);
        for (int run = 0; run < 300; ++run) {
            const bool with_special = run % 2 == 1;
            Ids ids(random() % 60);
            for (Token& id : ids) {
                // Mostly tokens of single bytes, which is where sequences break.
                const auto range = static_cast<std::uint32_t>(random() % 4 == 0 ? tokenizer.vocab_size() : 263);
                id = static_cast<Token>(random() % range);
            }
            StreamingDecoder decoder(tokenizer, with_special);
            std::string streamed;
            for (const Token id : ids) {
                const std::string chunk = decoder.push(id);
                CHECK(utf8::is_valid(chunk));
                streamed += chunk;
            }
            streamed += decoder.finish();
            CHECK(streamed == tokenizer.decode(ids, with_special));
        }
    }
}
