// Lines from a terminal, through libedit and its readline interface. That one's callbacks are used so that we do the
// waiting, and see Ctrl-C.
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <editline/readline.h>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <poll.h>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "runtime/chat/line_reader.h"

namespace vigil::chat {
namespace {

constexpr std::size_t kRemembered = 1000;

// What libedit hands over; its callback takes no argument of ours.
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

// The lines of the conversations before, in a file of plain lines: libedit's own format encodes them.
class History {
   public:
    explicit History(std::filesystem::path path) : path_(std::move(path)) {
        using_history();
        stifle_history(kRemembered);
        std::ifstream file(path_);  // the first time there is none
        for (std::string line; std::getline(file, line);) add(line);
    }
    ~History() {
        // What can't be remembered is no failure of a conversation.
        if (path_.empty()) return;
        std::error_code ignored;
        std::filesystem::create_directories(path_.parent_path(), ignored);
        const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
        if (file < 0) return;
        std::string text;
        for (const std::string& line : lines_) text += line + "\n";
        for (std::string_view rest = text; !rest.empty();) {
            const ssize_t n = write(file, rest.data(), rest.size());
            if (n <= 0) break;
            rest.remove_prefix(static_cast<std::size_t>(n));
        }
        close(file);
    }
    History(const History&) = delete;
    History& operator=(const History&) = delete;

    void add(const std::string& line) {
        if (line.empty()) return;
        add_history(line.c_str());
        lines_.push_back(line);
        if (lines_.size() > kRemembered) lines_.pop_front();
    }

   private:
    const std::filesystem::path path_;
    std::deque<std::string> lines_;
};

// libedit reads characters of the locale. Text is UTF-8 here, so a locale of single bytes is none to go by.
void choose_encoding() {
    std::setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
}

class TerminalReader final : public LineReader {
   public:
    TerminalReader(std::filesystem::path history, Interrupts& interrupts) : interrupts_(interrupts) {
        choose_encoding();
        rl_readline_name = "vigil";
        rl_catch_signals = 0;
        rl_initialize();
        rl_bind_key('\t', rl_insert);  // there is nothing to complete
        history_.emplace(std::move(history));
    }
    ~TerminalReader() override = default;
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
        history_->add(line);
        return LineEnd::kLine;
    }

    bool is_terminal() const override { return true; }

   private:
    std::optional<History> history_;
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
