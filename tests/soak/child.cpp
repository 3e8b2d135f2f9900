#include "tests/soak/child.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <poll.h>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

namespace vigil::soak {

using Clock = std::chrono::steady_clock;

Child::Child(const std::vector<std::string>& arguments) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
    pid_ = fork();
    if (pid_ == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(argv[0], argv.data());
        _exit(127);
    }
    close(ends[1]);
    output_ = ends[0];
    if (pid_ < 0) {
        close(output_);
        throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
    }
}

Child::~Child() {
    if (pid_ > 0) {
        kill(pid_, SIGKILL);
        wait();
    }
    close(output_);
}

std::optional<std::string> Child::read_line(std::chrono::milliseconds timeout) {
    const auto give_up = Clock::now() + timeout;
    for (;;) {
        if (const auto end = text_.find('\n'); end != std::string::npos) {
            std::string line = text_.substr(0, end);
            text_.erase(0, end + 1);
            return line;
        }
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(give_up - Clock::now());
        pollfd readable{output_, POLLIN, 0};
        if (left.count() <= 0 || poll(&readable, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
        char piece[512];
        const ssize_t n = read(output_, piece, sizeof piece);
        if (n <= 0) return std::nullopt;
        text_.append(piece, static_cast<std::size_t>(n));
    }
}

bool Child::wait_for_line(const std::string& wanted, std::chrono::milliseconds timeout,
                          std::vector<std::string>* seen) {
    const auto give_up = Clock::now() + timeout;
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(give_up - Clock::now());
        const auto line = read_line(left);
        if (!line) return false;
        if (seen != nullptr) seen->push_back(*line);
        if (*line == wanted) return true;
    }
}

void Child::signal(int number) const {
    kill(pid_, number);
}

int Child::wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string program_beside_this(const std::string& name) {
    return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

}  // namespace vigil::soak
