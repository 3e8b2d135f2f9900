// vigil serve: OpenAI's HTTP API and a page to chat on, until SIGTERM or Ctrl-C.
#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "host/chat/chat_template.h"
#include "runtime/serve/server.h"
#include "runtime/vigil/checks.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/messages.h"
#include "runtime/vigil/options.h"
#include "runtime/vigil/standard_output.h"

namespace vigil::program {
namespace {

constexpr int kMaxParallel = 1024;
constexpr int kMaxQueue = 4096;
constexpr int kMaxDrain = 3600;
constexpr int kMaxPort = 65535;

struct ServeOptions {
    ModelOptions model;
    std::string host = "127.0.0.1";
    int port = 8080;
    std::string api_key;
    std::string alias;
    std::string chat_template;
    int queue = 64;
    int timeout_s = 600;
    int drain_s = 10;
    bool quiet = false;
};

// SIGTERM and SIGINT are waited for, not handled: threads made after this inherit that they are blocked.
class Signals {
   public:
    Signals() {
        sigemptyset(&set_);
        sigaddset(&set_, SIGTERM);
        sigaddset(&set_, SIGINT);
        pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    }
    void wait() const {
        int signal = 0;
        sigwait(&set_, &signal);
    }
    // Whether another one has come.
    bool again() const {
        const timespec now{};
        return sigtimedwait(&set_, nullptr, &now) > 0;
    }

   private:
    sigset_t set_;
};

std::optional<ChatTemplate> load_template(const ServeOptions& o) {
    const gguf::File file = gguf::File::open(o.model.path);
    if (!o.chat_template.empty()) return ChatTemplate::from_gguf(file, o.chat_template);
    try {
        return ChatTemplate::from_gguf(file);
    } catch (const ChatTemplateError& error) {
        // Completions need none.
        say(fmt::format("vigil: warning: no chats: {}\n", error.what()));
        return std::nullopt;
    }
}

// One line of the log. Paths are the client's: what could pass for another line is escaped.
std::string log_line(const serve::RequestRecord& record) {
    std::string path;
    for (const char c : record.path.substr(0, 200))
        path += c > ' ' && c < 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return fmt::format("{:%FT%TZ} {} {} {} {} {:.1f}ms {}B{}{}\n",
                       fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())), record.peer,
                       record.method.empty() ? "-" : record.method, path.empty() ? "-" : path, record.status, record.ms,
                       record.bytes, record.note.empty() ? "" : " ", record.note);
}

int serve_until_signal(const ServeOptions& o) {
    const Signals signals;
    const std::optional<ChatTemplate> chat = load_template(o);
    Engine engine = load_engine(o.model);
    std::mutex log_mutex;
    serve::ServerOptions options;
    options.host = o.host;
    options.port = o.port;
    options.api_key = o.api_key;
    options.model_name = o.alias.empty() ? std::filesystem::path(o.model.path).stem().string() : o.alias;
    options.queue = static_cast<std::size_t>(o.queue);
    options.limits.request = std::chrono::seconds(o.timeout_s);
    if (!o.quiet)
        options.on_request = [&](const serve::RequestRecord& record) {
            const std::string line = log_line(record);
            const std::lock_guard lock(log_mutex);
            say(line);
        };
    serve::Server server(engine, chat ? &*chat : nullptr, options);
    write_out(fmt::format("listening on {}\n", server.url()));
    signals.wait();
    say(fmt::format("vigil: ending: requests under way have {} s\n", o.drain_s));
    server.drain(std::chrono::seconds(o.drain_s), [&signals] { return signals.again(); });
    return kSuccess;
}

}  // namespace

Action add_serve(CLI::App& app) {
    const auto o = std::make_shared<ServeOptions>();
    CLI::App& command = *app.add_subcommand("serve", "Answer OpenAI's HTTP API, with a page to chat on");
    add_model_options(command, o->model);
    command
        .add_option("--parallel", o->model.engine.parallel,
                    "Conversations kept in the KV cache, which share the context equally")
        ->check(number_in(1, kMaxParallel))
        ->capture_default_str();
    command.add_option("--host", o->host, "Address to listen on")->check(not_empty())->capture_default_str();
    command.add_option("--port", o->port, "Port to listen on; 0: any, told on standard output")
        ->check(number_in(0, kMaxPort))
        ->capture_default_str();
    command
        .add_option("--api-key", o->api_key,
                    "Requests need 'Authorization: Bearer KEY'; without the flag taken from $VIGIL_API_KEY")
        ->envname("VIGIL_API_KEY");
    command.add_option("--alias", o->alias, "The model's name in answers; by default the file's");
    command.add_option("--chat-template", o->chat_template,
                       "A built-in chat template, or a file with one, instead of the model's");
    command.add_option("--queue", o->queue, "Requests that may wait; further ones get 429")
        ->check(number_in(0, kMaxQueue))
        ->capture_default_str();
    command.add_option("--timeout", o->timeout_s, "Seconds that one request may take")
        ->check(number_in(1, 86400))
        ->capture_default_str();
    command.add_option("--drain", o->drain_s, "Seconds that requests have to end after SIGTERM or Ctrl-C")
        ->check(number_in(0, kMaxDrain))
        ->capture_default_str();
    command.add_flag("--quiet", o->quiet, "Without a line on standard error for each request");
    return [o] { return serve_until_signal(*o); };
}

}  // namespace vigil::program
