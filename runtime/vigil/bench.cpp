// vigil bench: what prompts and tokens take, by depth and dispatch, asked for as of llama-bench.
#include <algorithm>
#include <cstdint>
#include <fmt/format.h>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/bench/suite.h"
#include "runtime/vigil/checks.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/interrupt.h"
#include "runtime/vigil/messages.h"
#include "runtime/vigil/options.h"
#include "runtime/vigil/output_file.h"
#include "runtime/vigil/progress.h"
#include "runtime/vigil/standard_output.h"
#include "runtime/vigil/trace_file.h"

namespace vigil::program {
namespace {

constexpr double kMostReadGib = 1024;
constexpr int kMostRepetitions = 10'000;

struct BenchOptions {
    std::vector<std::string> models;
    std::vector<std::int32_t> prompts{512};
    std::vector<std::int32_t> tokens{128};
    std::vector<std::int32_t> depths{0};
    std::int32_t repetitions = 5;
    std::int32_t warmup = 64;
    std::int32_t jobs = 0;
    std::vector<std::string> dispatches{"persistent", "graph", "launch"};
    std::vector<std::int32_t> blocks{0};
    EngineOptions device;  // device and threads
    bool no_cublas = false;
    SamplingOptions sampling{.seed = "1", .params = {.temperature = 0.0f}};
    std::string format = "md";
    std::string json_file;
    std::optional<double> read_gib;
    std::string commit;
    TraceFlags trace;
    std::string command;  // as it was typed
};

// The tests asked for: as for llama-bench, 0 tokens are none.
std::vector<std::int32_t> tests_of(std::vector<std::int32_t> sizes) {
    std::erase(sizes, 0);
    return sizes;
}

bench::SuiteOptions suite_options(const BenchOptions& o) {
    bench::SuiteOptions s;
    s.models = o.models;
    s.prompts = tests_of(o.prompts);
    s.tokens = tests_of(o.tokens);
    s.depths = o.depths;
    s.repetitions = o.repetitions;
    s.n_warmup = o.warmup;
    s.n_jobs = o.jobs;
    for (const std::string& name : o.dispatches) s.dispatches.push_back(dispatch_named(name));
    s.blocks = o.blocks;
    s.device = o.device.device;
    s.cpu_threads = o.device.cpu_threads;
    s.use_cublas = !o.no_cublas;
    s.sampling = choose_seed(o.sampling);
    s.read_gib = o.read_gib;
    s.trace = o.trace.options();
    s.on_progress = [](const std::string& line) { say(line + "\n"); };
    s.on_warning = [](const std::string& text) { say(fmt::format("vigil: warning: {}\n", text)); };
    return s;
}

void check(const BenchOptions& o, const bench::SuiteOptions& s, const bench::Suite& suite) {
    if (s.prompts.empty() && s.tokens.empty() && s.n_jobs == 0)
        throw UsageError("there is nothing to measure: --n-prompt, --n-gen and --jobs are all 0");
    if (suite.positions_needed() > std::numeric_limits<std::int32_t>::max())
        throw UsageError(fmt::format("--n-depth: the deepest test needs a context of {} positions, more than {}",
                                     suite.positions_needed(), std::numeric_limits<std::int32_t>::max()));
    if (!o.trace.file.empty() && s.tokens.empty()) throw UsageError("--trace: no tokens are generated (--n-gen)");
    for (const std::int32_t n : s.tokens) check_trace(o.trace, n);
}

std::string report(const std::string& format, const bench::Suite& suite) {
    if (format == "json") return to_json(suite.context(), suite.models());
    if (format == "csv") return to_csv(suite.context(), suite.models());
    return to_markdown(suite.context(), suite.models());
}

int run_bench(const BenchOptions& o) {
    Interrupt interrupt;
    ProgressBar loading("loading", "B", stderr_is_terminal());
    bench::SuiteOptions options = suite_options(o);
    options.on_load = [&loading](std::size_t done, std::size_t total) { loading.update(done, total); };
    bench::RunContext context = bench::read_context(o.command);
    context.commit = o.commit;
    bench::Suite suite(options, std::move(context));
    check(o, options, suite);
    std::optional<OutputFile> json_file;
    if (!o.json_file.empty()) json_file.emplace(o.json_file);
    std::optional<OutputFile> trace_file = open_trace(o.trace);
    {
        const Interrupt::Scope ends(interrupt, [&suite] { suite.interrupt(); });
        suite.run();
    }
    write_out(report(o.format, suite));
    if (json_file) {
        const std::string json = report("json", suite);
        json_file->write(std::as_bytes(std::span(json)));
        json_file->commit();
    }
    if (trace_file) write_trace(*trace_file, suite.traces());
    if (interrupt.interrupted()) return kInterrupted;
    const bool whole = std::ranges::all_of(suite.models(), [](const auto& model) { return model.error.empty(); });
    return whole ? kSuccess : kFailure;
}

// A comma-separated list; the flag may be repeated. It must not swallow the models behind it.
template <class T>
void add_list(CLI::App& command, const char* name, std::vector<T>& values, const char* text,
              const CLI::Validator& check) {
    command.add_option(name, values, text)
        ->delimiter(',')
        ->take_all()
        ->allow_extra_args(false)
        ->check(check)
        ->capture_default_str();
}

std::string command_line(const CLI::App& app, const CLI::App& command) {
    std::string line = app.get_name() + " " + command.get_name();
    for (const CLI::Option* option : command.get_options()) {
        const bool positional = option->get_positional();
        for (const std::string& value : option->results())
            line += positional ? " " + value : fmt::format(" {} {}", option->get_name(), value);
    }
    return line;
}

}  // namespace

Action add_bench(CLI::App& app) {
    const auto o = std::make_shared<BenchOptions>();
    CLI::App& command = *app.add_subcommand("bench", "Time prompts and tokens by depth and dispatch");
    command.add_option("MODEL", o->models, "GGUF files; of a split model any of its files")->required();
    add_list(command, "-p,--n-prompt", o->prompts, "Tokens of a prompt, a test for each; 0: none", integer_from(0));
    add_list(command, "-n,--n-gen", o->tokens, "Tokens to generate and time, a test for each; 0: none",
             integer_from(0));
    add_list(command, "-d,--n-depth", o->depths, "Positions in the KV cache before each test; they hold random values",
             integer_from(0));
    command.add_option("-r,--repetitions", o->repetitions, "Timed repetitions of each test")
        ->check(number_in(1, kMostRepetitions))
        ->capture_default_str();
    command.add_option("--warmup", o->warmup, "Tokens generated before the timed ones")
        ->check(integer_from(0))
        ->capture_default_str();
    command.add_option("--jobs", o->jobs, "Jobs to time from submission to first token and back; 0: none")
        ->check(integer_from(0))
        ->capture_default_str();
    add_list(command, "--dispatch", o->dispatches, "The resident kernel and what it is compared with",
             one_of({"persistent", "graph", "launch"}));
    add_list(command, "--blocks", o->blocks, "Blocks of the grid; 0: the device's choice", integer_from(0));
    add_device_options(command, o->device);
    command.add_flag("--no-cublas", o->no_cublas, "Read prompts with vigil's own matrix multiplication");
    add_sampling_options(command, o->sampling);
    command.add_option("-o,--output", o->format, "Form of the report on standard output")
        ->check(one_of({"md", "json", "csv"}))
        ->capture_default_str();
    command.add_option("--json-file", o->json_file, "File for the report as JSON, beside what -o says")
        ->check(not_empty());
    command
        .add_option(
            "--read-gib", o->read_gib,
            "GiB of memory to measure the read ceiling over; 0: not measured; default: 4 on a GPU, 0.5 on a CPU")
        ->check(number_in(0.0, kMostReadGib));
    command.add_option("--commit", o->commit, "Commit to name in the report")->envname("VIGIL_COMMIT");
    add_trace_flags(command, o->trace);
    return [o, &app, &command] {
        o->command = command_line(app, command);
        return run_bench(*o);
    };
}

}  // namespace vigil::program
