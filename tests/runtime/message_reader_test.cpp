// Messages and commands out of lines.
#include "runtime/chat/message_reader.h"

#include <doctest/doctest.h>
#include <string>
#include <vector>

using namespace vigil::chat;

namespace {

// What `lines` and the end of the input after them make; commands with their / in front.
std::vector<std::string> read(const std::vector<std::string>& lines) {
    MessageReader reader;
    std::vector<std::string> all;
    const auto take = [&](const std::optional<Input>& input) {
        if (input) all.push_back((input->is_command ? "/" : "") + input->text);
    };
    for (const std::string& line : lines) take(reader.push(line));
    take(reader.finish());
    CHECK_FALSE(reader.pending());
    return all;
}

using Messages = std::vector<std::string>;

}  // namespace

TEST_CASE("a line is a message, and a blank one none") {
    CHECK(read({"one", "", "  ", "two"}) == Messages{"one", "two"});
    CHECK(read({}).empty());
}

TEST_CASE("a backslash at the end takes the next line in, whatever that is") {
    CHECK(read({"one\\", "two\\", "", "three"}) == Messages{"one\ntwo", "three"});
    CHECK(read({"one\\", "/help"}) == Messages{"one\n/help"});
    CHECK(read({"one \\ two"}) == Messages{"one \\ two"});
    CHECK(read({"one\\"}) == Messages{"one"});
}

TEST_CASE("a block keeps its lines as they are") {
    CHECK(read({"\"\"\"", "  one", "", "two\\", "/three", "\"\"\"", "four"}) ==
          Messages{"  one\n\ntwo\\\n/three", "four"});
    CHECK(read({"\"\"\"one\"\"\""}) == Messages{"one"});
    CHECK(read({"\"\"\"one \"\"\" two", "three\"\"\""}) == Messages{"one \"\"\" two\nthree"});
    CHECK(read({"\"\"\"one", "two"}) == Messages{"one\ntwo"});
    CHECK(read({"\"\"\"\"\"\""}).empty());
    CHECK(read({"no \"\"\" block"}) == Messages{"no \"\"\" block"});
}

TEST_CASE("a slash begins a command, two a message with one") {
    MessageReader reader;
    const auto command = reader.push("/save a file");
    REQUIRE(command);
    CHECK(command->is_command);
    CHECK(command->text == "save a file");
    const auto message = reader.push("//etc/passwd");
    REQUIRE(message);
    CHECK_FALSE(message->is_command);
    CHECK(message->text == "/etc/passwd");
}

TEST_CASE("a message begun can be dropped") {
    MessageReader reader;
    CHECK_FALSE(reader.push("\"\"\"one"));
    CHECK(reader.pending());
    reader.clear();
    CHECK_FALSE(reader.pending());
    const auto next = reader.push("two");
    REQUIRE(next);
    CHECK(next->text == "two");
}
