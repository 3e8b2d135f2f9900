#include "tests/cli/terminal.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <poll.h>
#include <pty.h>
#include <stdexcept>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include "tests/cli/child.h"
#include "tests/patience.h"

namespace vigil::test {
namespace {

std::string last_of(const std::string& text) {
    constexpr std::size_t kMost = 2000;
    return text.size() <= kMost ? text : "…" + text.substr(text.size() - kMost);
}

}  // namespace

Terminal::Terminal(const std::vector<std::string>& arguments,
                   const std::vector<std::pair<std::string, std::string>>& environment) {
    std::vector<std::string> words = arguments;
    words.insert(words.begin(), program());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const winsize size{.ws_row = 40, .ws_col = 200, .ws_xpixel = 0, .ws_ypixel = 0};
    pid_ = forkpty(&descriptor_, nullptr, nullptr, &size);
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "forkpty");
    if (pid_ > 0) return;
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    execv(argv[0], argv.data());
    _exit(127);
}

Terminal::~Terminal() {
    close(descriptor_);
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
}

void Terminal::type(std::string_view keys) const {
    if (write(descriptor_, keys.data(), keys.size()) != static_cast<ssize_t>(keys.size()))
        throw std::runtime_error("the terminal takes no more keys");
}

bool Terminal::read_some(Clock::time_point give_up) {
    pollfd waiting{descriptor_, POLLIN, 0};
    if (Clock::now() > give_up || poll(&waiting, 1, 1000) < 0)
        throw std::runtime_error("given up after: " + last_of(shown_));
    if (waiting.revents == 0) return true;
    std::array<char, 1 << 14> buffer;
    const ssize_t n = read(descriptor_, buffer.data(), buffer.size());  // EIO when the program has gone
    if (n > 0) shown_.append(buffer.data(), static_cast<std::size_t>(n));
    return n > 0;
}

std::string Terminal::read_until(std::string_view text) {
    const auto give_up = Clock::now() + kPatience;
    std::size_t at;
    while ((at = shown_.find(text)) == std::string::npos)
        if (!read_some(give_up)) throw std::runtime_error("the program ended after: " + last_of(shown_));
    std::string read = shown_.substr(0, at + text.size());
    shown_.erase(0, at + text.size());
    return read;
}

int Terminal::wait() {
    const auto give_up = Clock::now() + kPatience;
    while (read_some(give_up)) {
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace vigil::test
