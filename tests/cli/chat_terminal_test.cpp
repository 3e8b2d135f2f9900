// vigil chat on a terminal: the prompt, editing, history and Ctrl-C.
#include <doctest/doctest.h>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/cli/files.h"
#include "tests/cli/output.h"
#include "tests/cli/terminal.h"

using namespace vigil::test;

namespace {

constexpr const char* kCtrlC = "\x03";
constexpr const char* kCtrlD = "\x04";
constexpr const char* kUp = "\x1b[A";
constexpr const char* kPrompt = "\n> ";  // where a line is drawn anew there is no line end before
constexpr const char* kDim = "\x1b[2m[";

// A conversation whose state (the history) is in a folder of its own.
class Chat : public Terminal {
   public:
    explicit Chat(const std::vector<std::string>& more, const std::filesystem::path& state = new_path("state"))
        : Terminal(arguments(more), {{"XDG_STATE_HOME", state.string()}, {"TERM", "xterm"}, {"EDITRC", "/dev/null"}}) {
        read_until(kPrompt);
    }

   private:
    static std::vector<std::string> arguments(const std::vector<std::string>& more) {
        static const std::string chat_template = write_file(
            "template.jinja", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:");
        std::vector<std::string> all = {"chat", tiny_model(), "--chat-template", chat_template};
        all.insert(all.end(), more.begin(), more.end());
        return on_device(all);
    }
};

const std::vector<std::string> kShort = {"-n", "8", "--seed", "1"};
const std::vector<std::string> kEndless = {"-c", "100000", "--temp", "0"};

}  // namespace

TEST_CASE("a typed message is answered, with the figures dim behind it, and Ctrl-D leaves") {
    skip_without_device();
    Chat chat(kShort);
    chat.type("good morning\r");
    const std::string answer = chat.read_until(kDim);
    CHECK(answer.find("good morning") != std::string::npos);  // as it was typed
    CHECK(chat.read_until(kPrompt).find("8 tokens") != std::string::npos);
    chat.type(kCtrlD);
    CHECK(chat.wait() == 0);
}

TEST_CASE("a line can be edited before it is sent") {
    Chat chat(kShort);
    chat.type("/hellp\x7f\x7fp\r");  // two backspaces
    CHECK(chat.read_until(kPrompt).find("/regen") != std::string::npos);
    chat.type(
        "/hé\x7f"
        "elp\r");  // one, for a letter of two bytes
    CHECK(chat.read_until(kPrompt).find("/regen") != std::string::npos);
    chat.type("lp\x01/he\r");  // Ctrl-A: to the line's beginning
    CHECK(chat.read_until(kPrompt).find("/regen") != std::string::npos);
    chat.type("/exit\r");
    CHECK(chat.wait() == 0);
}

TEST_CASE("a message of several lines shows another prompt") {
    Chat chat(kShort);
    chat.type("first\\\r");
    chat.read_until(". ");
    chat.type("second\r");
    chat.read_until(kDim);
    chat.read_until(kPrompt);
    chat.type("/exit\r");
    CHECK(chat.wait() == 0);
}

TEST_CASE("Ctrl-C stops an answer and leaves the conversation") {
    Chat chat(kEndless);
    chat.type("on and on\r");
    chat.read_until("on and on\r\n");
    chat.type(kCtrlC);
    CHECK(chat.read_until(kPrompt).find("; stopped]") != std::string::npos);
    chat.type("/stats\r");
    CHECK(chat.read_until(kPrompt).find("messages") != std::string::npos);
    chat.type("/exit\r");
    CHECK(chat.wait() == 0);
}

TEST_CASE("Ctrl-C at the prompt drops the line, and twice in a row it leaves") {
    Chat chat(kShort);
    chat.type("half a line");
    chat.read_until("half a line");
    chat.type(kCtrlC);
    chat.read_until("leaves.");
    chat.read_until(kPrompt);
    chat.type("/stats\r");  // what was dropped is not part of it, and this takes the first Ctrl-C back
    CHECK(chat.read_until(kPrompt).find("0 messages") != std::string::npos);
    chat.type(kCtrlC);
    chat.read_until(kPrompt);
    chat.type(kCtrlC);
    CHECK(chat.wait() == 130);
}

TEST_CASE("lines are remembered for the next time, readable by their owner only") {
    const std::filesystem::path state = new_path("state");
    {
        Chat chat(kShort, state);
        chat.type("/stats\r");
        chat.read_until(kPrompt);
        chat.type(kCtrlD);
        CHECK(chat.wait() == 0);
    }
    const std::filesystem::path history = state / "vigil" / "chat_history";
    CHECK(read_file(history) == "/stats\n");
    CHECK((std::filesystem::status(history).permissions() & std::filesystem::perms::others_all) ==
          std::filesystem::perms::none);
    Chat chat(kShort, state);
    chat.type(std::string(kUp) + "\r");
    CHECK(chat.read_until(kPrompt).find("0 messages") != std::string::npos);
    chat.type(kCtrlD);
    CHECK(chat.wait() == 0);
}
