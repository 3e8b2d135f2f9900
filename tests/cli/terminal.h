// Runs the program under test on a terminal of its own, as a user would.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace vigil::test {

// A read that takes longer than a minute is thrown as std::runtime_error with what the terminal showed last.
class Terminal {
   public:
    // `environment` is added to this program's own.
    Terminal(const std::vector<std::string>& arguments,
             const std::vector<std::pair<std::string, std::string>>& environment);
    ~Terminal();
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    void type(std::string_view keys) const;
    // Reads until `text` is shown; all that was shown since the last call, up to its end.
    std::string read_until(std::string_view text);
    // Reads to the end; the exit code.
    int wait();

   private:
    using Clock = std::chrono::steady_clock;
    // False at the end.
    bool read_some(Clock::time_point give_up);

    pid_t pid_ = 0;
    int descriptor_ = -1;
    std::string shown_;  // and not yet returned
};

}  // namespace vigil::test
