// vigil: the command line. Finds the subcommand, runs it, and turns what went wrong into one line and an exit code.
#include <csignal>
#include <exception>
#include <fmt/format.h>
#include <iostream>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "runtime/vigil/commands.h"
#include "runtime/vigil/messages.h"

namespace {

using namespace vigil::program;

constexpr const char* kFooter =
    "Exit codes: 0 success, 1 failure (the message says of what), 2 wrong command line, 130 interrupted by Ctrl-C.";

// Help and version are errors of code 0 to CLI11.
int report(const CLI::App& app, const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, std::cout, std::cerr);
    const std::vector<std::string> rest = app.remaining();
    if (app.get_subcommands().empty() && !rest.empty() && !rest.front().starts_with('-')) {
        say(fmt::format("vigil: there is no command '{}'\n'vigil --help' lists them.\n", rest.front()));
        return kUsage;
    }
    std::string help = "vigil";
    for (const CLI::App* command : app.get_subcommands()) help += " " + command->get_name();
    say(fmt::format("vigil: {}\n'{} --help' says how it is used.\n", error.what(), help));
    return kUsage;
}

int run(int argc, char** argv) {
    CLI::App app("vigil generates text from GGUF models with one kernel that stays on the GPU.", "vigil");
    app.set_version_flag("--version", "vigil " VIGIL_VERSION);
    app.require_subcommand(1);
    app.footer(kFooter);
    const std::vector<std::pair<const char*, Action>> commands = {
        {"run", add_run(app)},         {"chat", add_chat(app)},         {"serve", add_serve(app)},
        {"bench", add_bench(app)},     {"tokenize", add_tokenize(app)}, {"perplexity", add_perplexity(app)},
        {"inspect", add_inspect(app)}, {"quantize", add_quantize(app)}, {"doctor", add_doctor(app)},
    };
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return report(app, error);
    }
    for (const auto& [name, action] : commands)
        if (app.got_subcommand(name)) return action();
    return kUsage;
}

}  // namespace

int main(int argc, char** argv) {
    // A reader that goes away is seen where we write, not by being killed with the kernel on the GPU.
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return run(argc, argv);
    } catch (const ClosedOutput&) {
        return kSuccess;
    } catch (const UsageError& error) {
        say(fmt::format("vigil: {}\n", error.what()));
        return kUsage;
    } catch (const std::bad_alloc&) {
        say("vigil: out of memory\n");
        return kFailure;
    } catch (const std::exception& error) {
        say(fmt::format("vigil: {}\n", error.what()));
        return kFailure;
    }
}
