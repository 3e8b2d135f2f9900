// Lines from a terminal, through GNU readline. Its callback interface is used so that we do the waiting, and see
// Ctrl-C.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <poll.h>
#include <readline/history.h>
#include <readline/readline.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "runtime/chat/line_reader.h"

namespace vigil::chat {
namespace {

constexpr int kRemembered = 1000;

// What readline hands over; its callback takes no argument of ours.
struct Handed {
    bool done = false;
    bool at_end = false;
    std::string line;
};
Handed handed;

void take_line(char* line) {
    handed.done = true;
    handed.at_end = line == nullptr;
    if (line != nullptr) handed.line = line;
    std::free(line);
    // Before anything else is printed, so that the terminal is the user's again.
    rl_callback_handler_remove();
}

class TerminalReader final : public LineReader {
   public:
    TerminalReader(std::filesystem::path history, Interrupts& interrupts)
        : history_(std::move(history)), interrupts_(interrupts) {
        rl_readline_name = "vigil";
        rl_catch_signals = 0;
        rl_bind_key('\t', rl_insert);  // there is nothing to complete
        using_history();
        stifle_history(kRemembered);
        if (!history_.empty()) read_history(history_.c_str());  // the first time there is none
    }
    ~TerminalReader() override {
        // What can't be remembered is no failure of a conversation.
        if (history_.empty()) return;
        std::error_code ignored;
        std::filesystem::create_directories(history_.parent_path(), ignored);
        write_history(history_.c_str());
    }
    TerminalReader(const TerminalReader&) = delete;
    TerminalReader& operator=(const TerminalReader&) = delete;

    LineEnd next(const std::string& prompt, std::string& line) override {
        handed = {};
        rl_callback_handler_install(prompt.c_str(), take_line);
        while (!handed.done) {
            pollfd sources[] = {{STDIN_FILENO, POLLIN, 0}, {interrupts_.descriptor(), POLLIN, 0}};
            if (poll(sources, 2, -1) < 0 && errno != EINTR) {
                const int error = errno;
                rl_callback_handler_remove();
                throw std::system_error(error, std::generic_category(), "terminal");
            }
            if (interrupts_.take()) {
                rl_callback_handler_remove();
                std::puts("^C");
                return LineEnd::kInterrupt;
            }
            if ((sources[0].revents & POLLIN) != 0)
                rl_callback_read_char();
            else if (sources[0].revents != 0)  // the terminal has gone
                take_line(nullptr);
        }
        if (handed.at_end) {
            std::puts("");
            return LineEnd::kInput;
        }
        line = std::move(handed.line);
        if (!line.empty()) add_history(line.c_str());
        return LineEnd::kLine;
    }

    bool is_terminal() const override { return true; }

   private:
    const std::filesystem::path history_;
    Interrupts& interrupts_;
};

}  // namespace

std::unique_ptr<LineReader> make_terminal_reader(std::filesystem::path history, Interrupts& interrupts) {
    return std::make_unique<TerminalReader>(std::move(history), interrupts);
}

std::filesystem::path default_history() {
    const auto variable = [](const char* name) {
        const char* value = std::getenv(name);
        return std::filesystem::path(value != nullptr ? value : "");
    };
    std::filesystem::path state = variable("XDG_STATE_HOME");
    if (!state.is_absolute()) {
        const std::filesystem::path home = variable("HOME");
        if (!home.is_absolute()) return {};
        state = home / ".local" / "state";
    }
    return state / "vigil" / "chat_history";
}

}  // namespace vigil::chat
