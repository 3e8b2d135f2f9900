// One line of input at a time: edited and remembered on a terminal, as it comes from a pipe.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "runtime/chat/interrupts.h"

namespace vigil::chat {

enum class LineEnd { kLine, kInput, kInterrupt };

class LineReader {
   public:
    virtual ~LineReader() = default;
    // The next line without its newline. With kInput there is none and never will be; with kInterrupt (Ctrl-C) what was
    // typed is dropped. `prompt` is shown on a terminal only. Throws std::system_error if the input can't be read.
    virtual LineEnd next(const std::string& prompt, std::string& line) = 0;
    virtual bool is_terminal() const = 0;
};

// Reads file descriptor `input`.
std::unique_ptr<LineReader> make_pipe_reader(int input, Interrupts& interrupts);

// libedit on standard input and output. Lines are remembered in `history` for the next time, the last 1,000 of
// them; empty: not. At most one in a program.
std::unique_ptr<LineReader> make_terminal_reader(std::filesystem::path history, Interrupts& interrupts);

// $XDG_STATE_HOME/vigil/chat_history, or in ~/.local/state; empty without a home.
std::filesystem::path default_history();

}  // namespace vigil::chat
