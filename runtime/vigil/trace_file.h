// --trace: which tokens' timeline is recorded, and the file it goes to.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>

#include "runtime/trace.h"
#include "runtime/vigil/output_file.h"

namespace vigil::program {

struct TraceFlags {
    std::string file;  // empty: no trace
    TraceOptions tokens{.first_token = 16, .n_tokens = 4};

    // What the engine is told: no tokens if no file is asked for.
    TraceOptions options() const { return file.empty() ? TraceOptions{} : tokens; }
};

// --trace FILE and --trace-tokens FIRST:COUNT.
void add_trace_flags(CLI::App& command, TraceFlags& flags);

// Throws UsageError if --trace asks for tokens that a generation of `n_tokens` has not got, all of them or some.
void check_trace(const TraceFlags& flags, std::int64_t n_tokens);

// The file that was asked for, if one was: opened before the work begins, so that a bad name is known at once.
std::optional<OutputFile> open_trace(const TraceFlags& flags);

// Writes the file and says on standard error where the time went by phase, or that nothing was recorded.
void write_trace(OutputFile& file, std::span<const Trace> traces);

}  // namespace vigil::program
