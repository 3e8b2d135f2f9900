// Cutting special tokens out of a text.
#include "host/tokenizer/special_tokens.h"

#include <doctest/doctest.h>

using namespace vigil;

namespace {

// Segments as text: a special token in brackets.
std::string show(const SpecialTokens& special, std::string_view text, bool parse_special) {
    std::string out;
    for (const auto& segment : special.split(text, parse_special)) {
        out += segment.token == no_token ? "(" : "[";
        out += segment.text;
        out += segment.token == no_token ? ")" : "]";
    }
    return out;
}

SpecialTokens make() {
    SpecialTokens special;
    special.add("<s>", 1, false);
    special.add("<|end|>", 2, false);
    special.add("<tool>", 3, true);
    special.add("<tool>x", 4, true);
    special.add("", 5, true);
    return special;
}

}  // namespace

TEST_CASE("control tokens are cut out only when asked for, user-defined ones always") {
    CHECK(show(make(), "a<s>b<tool>c", true) == "(a)[<s>](b)[<tool>](c)");
    CHECK(show(make(), "a<s>b<tool>c", false) == "(a<s>b)[<tool>](c)");
}

TEST_CASE("adjacent, leading and trailing special tokens leave no empty text between them") {
    CHECK(show(make(), "<s><s>", true) == "[<s>][<s>]");
    CHECK(show(make(), "<s>", true) == "[<s>]");
    CHECK(show(make(), "", true) == "");
    CHECK(show(make(), "<s", true) == "(<s)");
    CHECK(show(make(), "<<s>>", true) == "(<)[<s>](>)");
}

TEST_CASE("of overlapping special tokens the longest wins, then the leftmost") {
    CHECK(show(make(), "<tool>x", true) == "[<tool>x]");
    SpecialTokens special;
    special.add("ab", 1, true);
    special.add("bcd", 2, true);
    special.add("aa", 3, true);
    CHECK(show(special, "abcd", true) == "(a)[bcd]");
    CHECK(show(special, "aaa", true) == "[aa](a)");
}
