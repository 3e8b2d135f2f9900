// vigil chat: a conversation with a model, in a terminal or through pipes.
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "host/gguf/gguf.h"
#include "runtime/chat/session.h"
#include "runtime/vigil/checks.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/interrupt.h"
#include "runtime/vigil/messages.h"
#include "runtime/vigil/options.h"
#include "runtime/vigil/standard_output.h"

namespace vigil::program {
namespace {

struct ChatOptions {
    ModelOptions model;
    SamplingOptions sampling;
    std::string system;
    std::optional<std::string> chat_template;
    std::int32_t n_predict = -1;
    std::vector<std::string> stop;
};

// Figures step back behind the text on a terminal.
void report_figures(const std::string& line) {
    say(isatty(STDERR_FILENO) != 0 ? fmt::format("\x1b[2m[{}]\x1b[0m\n", line) : fmt::format("[{}]\n", line));
}

std::string file_name(const std::string& path) {
    return std::filesystem::path(path).filename().string();
}

int chat(const ChatOptions& o) {
    std::optional<ChatTemplate> chat_template;
    std::optional<Engine> engine;
    {
        const Interrupt ends_while_loading;
        chat_template = ChatTemplate::from_gguf(gguf::File::open(o.model.path), o.chat_template);
        engine = load_engine(o.model);
    }
    chat::Interrupts interrupts;
    const bool is_terminal = isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
    const std::unique_ptr<chat::LineReader> lines =
        is_terminal ? chat::make_terminal_reader(chat::default_history(), interrupts)
                    : chat::make_pipe_reader(STDIN_FILENO, interrupts);
    chat::SessionOptions options{.model = file_name(o.model.path),
                                 .system = o.system,
                                 .sampling = choose_seed(o.sampling),
                                 .n_predict = o.n_predict,
                                 .stop = o.stop,
                                 .write = write_out,
                                 .note = [](const std::string& text) { say(text + "\n"); },
                                 .report = report_figures};
    if (is_terminal) say(fmt::format("{}, {}. /help lists the commands.\n", options.model, engine->device_info().name));
    chat::Session session(*engine, *chat_template, *lines, interrupts, std::move(options));
    return session.run() == chat::Session::End::kInterrupt ? kInterrupted : kSuccess;
}

}  // namespace

Action add_chat(CLI::App& app) {
    const auto o = std::make_shared<ChatOptions>();
    CLI::App& command = *app.add_subcommand("chat", "Hold a conversation");
    add_model_options(command, o->model);
    command.add_option("--system", o->system, "System message");
    command
        .add_option("--chat-template", o->chat_template,
                    "Instead of the file's own template: the name of a built-in one, or a file with a Jinja template")
        ->check(not_empty());
    command.add_option("-n,--n-predict", o->n_predict, "Tokens of an answer at most; -1: what the context holds")
        ->check(integer_from(-1))
        ->capture_default_str();
    add_sampling_options(command, o->sampling);
    command.add_option("--stop", o->stop, "Text that ends an answer; may be given several times")
        ->check(not_empty())
        ->take_all()
        ->allow_extra_args(false);
    return [o] { return chat(*o); };
}

}  // namespace vigil::program
