// Runs the program under test as a process of its own.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace vigil::test {

struct Result {
    int exit_code = -1;  // -1: ended by a signal
    int signal = 0;
    std::string out, err;
};

// The program's path: $VIGIL_BINARY, or what the build has made.
std::string program();

// A running program. Whatever takes longer than kPatience is killed and thrown as std::runtime_error.
class Child {
   public:
    // `input`: the file that is its standard input; "-" is a pipe that write() fills.
    // `output`: the file that its standard output goes to instead of into `out`.
    explicit Child(const std::vector<std::string>& arguments, const std::string& input = "/dev/null",
                   const std::string& output = {}, const std::string& executable = program());
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    // The next bytes of its standard output, at least `least` of them unless it ends before. They count in `out` too.
    std::string read(std::size_t least);
    void write(std::string_view text) const;
    void close_output();
    void send(int signal) const;
    Result wait();

   private:
    bool read_some(std::string& text);

    pid_t pid_ = 0;
    int output_ = -1;
    int input_ = -1;
    std::filesystem::path errors_;
    std::string out_;
};

Result run(const std::vector<std::string>& arguments, const std::string& input = "/dev/null");

}  // namespace vigil::test
