// Lines from a pipe or a file.
#include <array>
#include <cerrno>
#include <poll.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "runtime/chat/line_reader.h"

namespace vigil::chat {
namespace {

class PipeReader final : public LineReader {
   public:
    PipeReader(int input, Interrupts& interrupts) : input_(input), interrupts_(interrupts) {}

    LineEnd next(const std::string&, std::string& line) override {
        for (;;) {
            const std::size_t newline = waiting_.find('\n');
            if (newline != std::string::npos) {
                line = waiting_.substr(0, newline);
                waiting_.erase(0, newline + 1);
                if (line.ends_with('\r')) line.pop_back();
                return LineEnd::kLine;
            }
            if (ended_) break;
            pollfd sources[] = {{input_, POLLIN, 0}, {interrupts_.descriptor(), POLLIN, 0}};
            if (poll(sources, 2, -1) < 0 && errno != EINTR)
                throw std::system_error(errno, std::generic_category(), "standard input");
            if (interrupts_.take()) return LineEnd::kInterrupt;
            if (sources[0].revents != 0) read_some();
        }
        if (waiting_.empty()) return LineEnd::kInput;
        line = std::exchange(waiting_, {});  // a last line without its newline
        return LineEnd::kLine;
    }

    bool is_terminal() const override { return false; }

   private:
    void read_some() {
        std::array<char, 1 << 14> buffer;
        const ssize_t n = read(input_, buffer.data(), buffer.size());
        if (n < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "standard input");
        if (n == 0) ended_ = true;
        if (n > 0) waiting_.append(buffer.data(), static_cast<std::size_t>(n));
    }

    const int input_;
    Interrupts& interrupts_;
    std::string waiting_;
    bool ended_ = false;
};

}  // namespace

std::unique_ptr<LineReader> make_pipe_reader(int input, Interrupts& interrupts) {
    return std::make_unique<PipeReader>(input, interrupts);
}

}  // namespace vigil::chat
