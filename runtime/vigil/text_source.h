// Where a command's text comes from: a flag, a file or standard input.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

namespace vigil::program {

// The bytes of a file; "-" is standard input. Throws std::runtime_error naming it and what is wrong.
std::string read_text(const std::string& path);

// A prompt may be given as PROMPT, -p or -f; without any it is read from standard input.
struct PromptFlags {
    std::optional<std::string> positional, prompt, file;

    // Throws UsageError if more than one is given, or none and standard input is a terminal. As with llama.cpp the
    // newline that ends a file is not part of the prompt.
    std::string read() const;
};

void add_prompt_flags(CLI::App& command, PromptFlags& flags);

}  // namespace vigil::program
