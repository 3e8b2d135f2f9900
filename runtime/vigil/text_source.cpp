#include "runtime/vigil/text_source.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <vector>

#include "runtime/vigil/commands.h"

namespace vigil::program {
namespace {

// What a tokenizer takes at most.
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

// Closes what it has opened itself.
class Input {
   public:
    explicit Input(const std::string& path)
        : name_(path == "-" ? "standard input" : path),
          descriptor_(path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        if (descriptor_ < 0) fail();
    }
    ~Input() {
        if (descriptor_ != STDIN_FILENO) close(descriptor_);
    }
    Input(const Input&) = delete;
    Input& operator=(const Input&) = delete;

    std::string read_all() {
        std::string text;
        std::array<char, 1 << 16> buffer;
        while (true) {
            const ssize_t n = read(descriptor_, buffer.data(), buffer.size());
            if (n == 0) return text;
            if (n < 0 && errno != EINTR) fail();
            if (n > 0) text.append(buffer.data(), static_cast<std::size_t>(n));
            if (text.size() > kMaxBytes)
                throw std::runtime_error(fmt::format("{}: longer than {} bytes", name_, kMaxBytes));
        }
    }

   private:
    [[noreturn]] void fail() const { throw std::runtime_error(fmt::format("{}: {}", name_, std::strerror(errno))); }

    std::string name_;
    int descriptor_;
};

}  // namespace

std::string read_text(const std::string& path) {
    return Input(path).read_all();
}

std::string PromptFlags::read() const {
    std::vector<const char*> given;
    if (positional) given.push_back("PROMPT");
    if (prompt) given.push_back("--prompt");
    if (file) given.push_back("--file");
    if (given.size() > 1)
        throw UsageError(fmt::format("the prompt is given {} times, by {}; one is allowed", given.size(),
                                     fmt::join(given, " and ")));
    if (positional) return *positional;
    if (prompt) return *prompt;
    if (!file && isatty(STDIN_FILENO) != 0)
        throw UsageError("no prompt: give PROMPT, --prompt, --file or standard input");
    std::string text = read_text(file.value_or("-"));
    if (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

void add_prompt_flags(CLI::App& command, PromptFlags& flags) {
    command.add_option("PROMPT", flags.positional, "Text to continue; without any it is read from standard input");
    command.add_option("-p,--prompt", flags.prompt, "Text to continue");
    command.add_option("-f,--file", flags.file, "File with the text to continue; '-': standard input");
}

}  // namespace vigil::program
