#include "tests/cli/child.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

#include "tests/cli/files.h"
#include "tests/patience.h"

extern char** environ;

namespace vigil::test {
namespace {

using namespace std::chrono_literals;

void check(int error, const char* what) {
    if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

void close_once(int& descriptor) {
    if (descriptor >= 0) close(std::exchange(descriptor, -1));
}

struct Pipe {
    int read_end, write_end;
};

Pipe make_pipe() {
    int ends[2];
    check(pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno, "pipe2");
    return {ends[0], ends[1]};
}

}  // namespace

std::string program() {
    const char* from_environment = std::getenv("VIGIL_BINARY");
    return from_environment != nullptr ? from_environment : VIGIL_PROGRAM;
}

Child::Child(const std::vector<std::string>& arguments, const std::string& input, const std::string& output,
             const std::string& executable)
    : errors_(new_path("stderr")) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    Pipe out = make_pipe();
    Pipe in{-1, -1};
    if (input == "-") {
        in = make_pipe();
        posix_spawn_file_actions_adddup2(&actions, in.read_end, STDIN_FILENO);
    } else {
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input.c_str(), O_RDONLY, 0);
    }
    if (output.empty())
        posix_spawn_file_actions_adddup2(&actions, out.write_end, STDOUT_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    std::vector<std::string> words = arguments;
    words.insert(words.begin(), executable);
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    output_ = out.read_end;
    input_ = in.write_end;
    close_once(out.write_end);
    close_once(in.read_end);
    check(error, "posix_spawn");
}

Child::~Child() {
    close_output();
    close_once(input_);
    if (pid_ <= 0) return;
    send(SIGKILL);
    waitpid(pid_, nullptr, 0);
}

bool Child::read_some(std::string& text) {
    if (output_ < 0) return false;
    pollfd waiting{output_, POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) <= 0)
        throw std::runtime_error("the program has said nothing for very long");
    std::array<char, 1 << 16> buffer;
    const ssize_t n = ::read(output_, buffer.data(), buffer.size());
    if (n > 0) text.append(buffer.data(), static_cast<std::size_t>(n));
    return n > 0;
}

std::string Child::read(std::size_t least) {
    std::string text;
    while (text.size() < least && read_some(text)) {
    }
    out_ += text;
    return text;
}

void Child::write(std::string_view text) const {
    check(::write(input_, text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno, "write");
}

void Child::close_output() {
    close_once(output_);
}

void Child::send(int signal) const {
    kill(pid_, signal);
}

Result Child::wait() {
    while (read_some(out_)) {
    }
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
        if (std::chrono::steady_clock::now() > give_up) throw std::runtime_error("the program did not end");
        std::this_thread::sleep_for(2ms);
    }
    pid_ = 0;
    Result result;
    if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    result.out = std::move(out_);
    result.err = read_file(errors_);
    return result;
}

Result run(const std::vector<std::string>& arguments, const std::string& input) {
    return Child(arguments, input).wait();
}

}  // namespace vigil::test
