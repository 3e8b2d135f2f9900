#include "tests/serve/server_fixture.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <thread>

#include "host/gguf/gguf.h"
#include "tests/cli/files.h"

namespace vigil::test {
namespace {

using namespace std::chrono_literals;

Engine load_engine(std::int32_t context) {
    EngineOptions options;
    options.device = "cpu";
    options.cpu_threads = 1;
    options.ctx_size = context;
    return Engine::load(tiny_model(), options);
}

serve::ServerOptions changed(const std::function<void(serve::ServerOptions&)>& change) {
    serve::ServerOptions options;
    options.port = 0;
    options.model_name = "tiny";
    change(options);
    return options;
}

}  // namespace

TestServer::TestServer(const std::function<void(serve::ServerOptions&)>& change, std::int32_t context)
    : engine_(load_engine(context)),
      chat_(ChatTemplate::from_gguf(gguf::File::open(tiny_model()), "chatml")),
      server_(engine_, &chat_, changed(change)) {}

Reply TestServer::complete(const std::string& prompt, Json more) {
    more["prompt"] = prompt;
    return post("/v1/completions", more);
}

Reply TestServer::chat(const std::string& message, Json more) {
    more["messages"] = Json::array({{{"role", "user"}, {"content", message}}});
    return post("/v1/chat/completions", more);
}

double TestServer::metric(const std::string& name) {
    // After the line that says its type.
    const std::string text = get("/metrics").body;
    const std::string line_start = fmt::format("\n{} ", name);
    const std::size_t at = text.find(line_start);
    REQUIRE_MESSAGE(at != std::string::npos, name);
    return std::stod(text.substr(at + line_start.size()));
}

bool TestServer::await_metric(const std::string& name, double value) {
    using Clock = std::chrono::steady_clock;
    for (const auto give_up = Clock::now() + kPatience; Clock::now() < give_up; std::this_thread::sleep_for(10ms))
        if (metric(name) == value) return true;
    return false;
}

}  // namespace vigil::test
