// A server on a free port, with the synthetic model behind it on the CPU device.
#pragma once

#include <cstdint>
#include <functional>

#include "runtime/serve/server.h"
#include "tests/serve/http.h"

namespace vigil::test {

// Room for answers that no test waits for the end of.
constexpr std::int32_t kContext = 16384;

class TestServer {
   public:
    explicit TestServer(
        const std::function<void(serve::ServerOptions&)>& change = [](serve::ServerOptions&) {},
        std::int32_t context = kContext);

    int port() const { return server_.port(); }
    serve::Server& server() { return server_; }
    Engine& engine() { return engine_; }

    Reply get(const std::string& path) { return test::get(port(), path); }
    Reply post(const std::string& path, const Json& body) { return test::post(port(), path, body); }
    // A completion of `prompt` with more fields.
    Reply complete(const std::string& prompt, Json more = Json::object());
    Reply chat(const std::string& message, Json more = Json::object());

    // The value of a metric without labels.
    double metric(const std::string& name);
    // Waits until a metric has a value; false if it does not within kPatience.
    bool await_metric(const std::string& name, double value);

   private:
    Engine engine_;
    ChatTemplate chat_;
    serve::Server server_;
};

// Long enough that a test can do something meanwhile, whatever the machine does beside.
constexpr int kLongAnswer = kContext - 100;
inline Json long_answer() {
    return {{"max_tokens", kLongAnswer}, {"ignore_eos", true}};
}

}  // namespace vigil::test
