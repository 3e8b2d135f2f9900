// Stop texts in a stream of pieces.
#include "runtime/stop_strings.h"

#include <doctest/doctest.h>

using vigil::StopMatcher;

namespace {

struct Result {
    std::string text;
    bool found;
    bool operator==(const Result&) const = default;
};

// `text` in pieces of `size` bytes.
Result feed(const std::vector<std::string>& stops, const std::string& text, std::size_t size) {
    StopMatcher matcher(stops);
    Result result{"", false};
    for (std::size_t at = 0; at < text.size() && !result.found; at += size) {
        const StopMatcher::Step step = matcher.push(text.substr(at, size));
        result.text += step.text;
        result.found = step.found;
    }
    if (!result.found) result.text += matcher.finish();
    return result;
}

}  // namespace

TEST_CASE("a stop text is found however the text is cut into pieces") {
    for (std::size_t size = 1; size < 20; ++size) {
        CHECK(feed({"STOP"}, "one STSTOP two", size) == Result{"one ST", true});
        CHECK(feed({"aab"}, "aaaab", size) == Result{"aa", true});
        CHECK(feed({"\n\n"}, "a\nb\n\nc", size) == Result{"a\nb", true});
        CHECK(feed({"STOP"}, "nothing STO", size) == Result{"nothing STO", false});
        CHECK(feed({}, "nothing", size) == Result{"nothing", false});
    }
}

TEST_CASE("of several stop texts the first that is complete counts") {
    for (std::size_t size = 1; size < 10; ++size) {
        CHECK(feed({"abcd", "bc"}, "xabcdy", size) == Result{"xa", true});
        CHECK(feed({"later", "now"}, "it is now or later", size) == Result{"it is ", true});
        CHECK(feed({"b", "ab"}, "xab", size) == Result{"x", true});
    }
}

TEST_CASE("text that may begin a stop text is held back, and no more than that") {
    StopMatcher matcher({"<end>"});
    CHECK(matcher.push("text <e").text == "text ");
    CHECK(matcher.holds());
    CHECK(matcher.push("m>").text == "<em>");
    CHECK(!matcher.holds());
    CHECK(matcher.push("<").text.empty());
    CHECK(matcher.finish() == "<");
    CHECK(!matcher.holds());
}
