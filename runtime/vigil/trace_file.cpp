#include "runtime/vigil/trace_file.h"

#include <fmt/format.h>
#include <limits>
#include <string_view>

#include "runtime/fault_text.h"
#include "runtime/vigil/checks.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/messages.h"

namespace vigil::program {
namespace {

// FIRST:COUNT, of tokens that exist.
bool parse_range(const std::string& text, TraceOptions& range) {
    const std::size_t colon = text.find(':');
    if (colon == std::string::npos) return false;
    TraceOptions parsed;
    if (!parse_number(text.substr(0, colon), parsed.first_token) ||
        !parse_number(text.substr(colon + 1), parsed.n_tokens))
        return false;
    if (parsed.first_token < 0 || parsed.n_tokens < 1) return false;
    if (parsed.n_tokens > std::numeric_limits<std::int32_t>::max() - parsed.first_token) return false;
    range = parsed;
    return true;
}

std::string name_of_range(const TraceOptions& range) {
    return fmt::format("{}:{}", range.first_token, range.n_tokens);
}

void say_phase_times(const Trace& trace) {
    const auto times = phase_times(trace);
    if (times.empty()) return say(fmt::format("vigil: warning: {}: no phase was recorded\n", trace.name));
    double sum = 0;
    std::string text = fmt::format("{}: µs per token and block, of it waiting\n", trace.name);
    for (const PhaseTime& time : times) {
        text +=
            fmt::format("  {:<12} {:9.1f} {:9.1f}\n", phase_name(time.phase), time.total_ns / 1e3, time.wait_ns / 1e3);
        sum += time.total_ns;
    }
    say(text + fmt::format("  {:<12} {:9.1f}\n", "together", sum / 1e3));
}

}  // namespace

void add_trace_flags(CLI::App& command, TraceFlags& flags) {
    command.add_option("--trace", flags.file, "File for the timeline of some tokens, to be opened in ui.perfetto.dev")
        ->check(not_empty());
    command
        .add_option_function<std::string>(
            "--trace-tokens", [&flags](const std::string& text) { parse_range(text, flags.tokens); },
            "Generated tokens in the timeline: the first, counted from 0, and how many")
        ->default_str(name_of_range(flags.tokens))
        ->check(CLI::Validator(
            [](const std::string& text) {
                TraceOptions ignored;
                if (parse_range(text, ignored)) return std::string();
                return fmt::format("expected FIRST:COUNT such as 16:4, not '{}'", text);
            },
            "FIRST:COUNT"));
}

void check_trace(const TraceFlags& flags, std::int64_t n_tokens) {
    if (flags.file.empty()) return;
    if (std::int64_t{flags.tokens.first_token} + flags.tokens.n_tokens > n_tokens)
        throw UsageError(
            fmt::format("--trace-tokens {}: at most {} tokens are generated", name_of_range(flags.tokens), n_tokens));
}

std::optional<OutputFile> open_trace(const TraceFlags& flags) {
    if (flags.file.empty()) return std::nullopt;
    return std::optional<OutputFile>(std::in_place, flags.file);
}

void write_trace(OutputFile& file, std::span<const Trace> traces) {
    for (const Trace& trace : traces) say_phase_times(trace);
    write_chrome_trace(traces, [&file](std::string_view piece) { file.write(std::as_bytes(std::span(piece))); });
    file.commit();
}

}  // namespace vigil::program
