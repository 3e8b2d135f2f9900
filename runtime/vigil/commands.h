// The subcommands of `vigil`. Each adds itself to the command line; the one that was named is run afterwards.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>

namespace vigil::program {

// What a command ends with. Documented in --help and docs/cli.md.
enum ExitCode : int { kSuccess = 0, kFailure = 1, kUsage = 2, kInterrupted = 130 };

// A command line that parses but can't be meant: the text names the flag and the value.
class UsageError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

// The reader of standard output has gone: nobody is left to work for, which is no failure.
class ClosedOutput : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

// Does the command's work and returns its exit code. Throws for what can't be done.
using Action = std::function<int()>;

Action add_run(CLI::App& app);
Action add_chat(CLI::App& app);
Action add_serve(CLI::App& app);
Action add_bench(CLI::App& app);
Action add_tokenize(CLI::App& app);
Action add_perplexity(CLI::App& app);
Action add_inspect(CLI::App& app);
Action add_quantize(CLI::App& app);
Action add_doctor(CLI::App& app);

}  // namespace vigil::program
