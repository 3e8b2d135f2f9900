// vigil tokenize.
#include <doctest/doctest.h>
#include <string>

#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"

using namespace vigil::test;

namespace {

std::string tokenize(const std::string& text) {
    const Result result = run({"tokenize", tiny_model(), text});
    CAPTURE(result.err);
    REQUIRE(result.exit_code == 0);
    return result.out;
}

std::string without_newline(const std::string& line) {
    REQUIRE(line.ends_with('\n'));
    return line.substr(0, line.size() - 1);
}

}  // namespace

TEST_CASE("ids stand on one line and turn back into the text") {
    for (const std::string text : {"Hello, world", "  two  spaces ", "Grüße 😀", "a\nb"}) {
        CAPTURE(text);
        const std::string ids = tokenize(text);
        CHECK(lines_of(ids).size() == 1);
        const Result back = run({"tokenize", tiny_model(), "--detokenize", without_newline(ids)});
        CHECK(back.exit_code == 0);
        CHECK(back.out == text + "\n");
    }
}

TEST_CASE("ids may be separated by commas") {
    const Result spaces = run({"tokenize", tiny_model(), "--detokenize", "75 76 77"});
    const Result commas = run({"tokenize", tiny_model(), "--detokenize", "75,76, 77"});
    CHECK(spaces.exit_code == 0);
    CHECK(spaces.out == commas.out);
}

TEST_CASE("a text that begins with a dash stands behind two") {
    const Result result = run({"tokenize", tiny_model(), "--", "-x"});
    CHECK(result.exit_code == 0);
    CHECK(run({"tokenize", tiny_model(), "--detokenize", without_newline(result.out)}).out == "-x\n");
}

TEST_CASE("special tokens are one token unless they are to be plain text") {
    // Every synthetic vocabulary has this one.
    const std::string special = "<|endoftext|>";
    CHECK(lines_of(tokenize(special)).front().find(' ') == std::string::npos);
    const Result plain = run({"tokenize", tiny_model(), special, "--no-special"});
    CHECK(plain.out.find(' ') != std::string::npos);
}

TEST_CASE("a byte that is no UTF-8 becomes U+FFFD when it is printed") {
    const std::string ids = without_newline(tokenize("é"));
    const std::string first = ids.substr(0, ids.find(' '));
    REQUIRE(first != ids);
    CHECK(run({"tokenize", tiny_model(), "--detokenize", first}).out == "\xef\xbf\xbd\n");
}
