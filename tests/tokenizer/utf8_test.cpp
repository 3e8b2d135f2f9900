// UTF-8 sequences over all of Unicode, and the alphabet of byte-level vocabularies.
#include "host/tokenizer/utf8.h"

#include <doctest/doctest.h>

#include "host/tokenizer/byte_alphabet.h"

using namespace vigil;

TEST_CASE("every code point written is read back as one sequence, save surrogates") {
    for (char32_t c = 0; c <= 0x10FFFF; ++c) {
        std::string text;
        utf8::append(text, c);
        const utf8::Unit unit = utf8::next(text);
        const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        bool right =
            surrogate ? unit.kind == utf8::Kind::invalid : unit.kind == utf8::Kind::valid && unit.length == text.size();
        for (std::size_t cut = 1; cut < text.size() && !surrogate; ++cut) {
            const utf8::Unit part = utf8::next(std::string_view(text).substr(0, cut));
            right = right && part.kind == utf8::Kind::incomplete && part.length == cut;
        }
        if (!right) FAIL("code point ", static_cast<std::uint32_t>(c));
    }
}

TEST_CASE("overlong forms, surrogates, values above U+10FFFF and stray bytes are invalid") {
    for (const char* bytes : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80",
                              "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
        CHECK(utf8::next(bytes).kind == utf8::Kind::invalid);
        CHECK(utf8::next(bytes).length == 1);
    }
    CHECK(utf8::next("\xE2\x82(").kind == utf8::Kind::invalid);
    CHECK(utf8::next("\xE2\x82(").length == 2);
}

TEST_CASE("each invalid byte is replaced by itself") {
    CHECK(utf8::replace_invalid_bytes("a\xE2\x82(\xFF") == "a\uFFFD\uFFFD(\uFFFD");
    CHECK(utf8::replace_invalid_bytes("\xF0\x9F\x98") == "\uFFFD\uFFFD\uFFFD");
    CHECK(utf8::replace_invalid_bytes("äß😀") == "äß😀");
}

TEST_CASE("the byte alphabet spells every byte with a character of its own") {
    std::string all;
    std::string spelled;
    for (int byte = 0; byte < 256; ++byte) {
        all += static_cast<char>(byte);
        spelled += byte_alphabet::spell(static_cast<std::uint8_t>(byte));
    }
    CHECK(byte_alphabet::read(spelled) == all);
    CHECK(byte_alphabet::spell(' ') == "Ġ");
    CHECK(byte_alphabet::spell('\n') == "Ċ");
    CHECK(byte_alphabet::spell('A') == "A");
    CHECK(byte_alphabet::read("a b") == std::nullopt);
    CHECK(byte_alphabet::read("▁") == std::nullopt);
    CHECK(byte_alphabet::read("\xC4") == std::nullopt);
}
