// A process that a test starts, listens to and stops.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace vigil::soak {

class Child {
   public:
    // Starts the program `arguments[0]`; its standard output comes back through read_line. Throws std::runtime_error.
    explicit Child(const std::vector<std::string>& arguments);
    ~Child();  // kills what still runs
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    pid_t pid() const { return pid_; }
    // The next whole line without its end; nothing if none comes in time or the process has closed its output.
    std::optional<std::string> read_line(std::chrono::milliseconds timeout);
    // Reads on until a line is `wanted`; false as read_line. What was read is in `*seen`, if given.
    bool wait_for_line(const std::string& wanted, std::chrono::milliseconds timeout,
                       std::vector<std::string>* seen = nullptr);
    void signal(int number) const;
    // Waits for its end: the exit code, or 128 + the signal that ended it.
    int wait();

   private:
    pid_t pid_ = -1;
    int output_ = -1;
    std::string text_;  // read but not handed out
};

// The program `name` in the folder that this program is in.
std::string program_beside_this(const std::string& name);

}  // namespace vigil::soak
