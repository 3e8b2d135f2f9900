// The server as a whole: an engine behind OpenAI's HTTP API and a page to chat on.
//
//     vigil::serve::Server server(engine, &chat_template, {.port = 0});
//     std::cout << server.url();
//     …                        // answers until
//     server.drain(10s);
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "host/chat/chat_template.h"
#include "runtime/engine.h"
#include "runtime/serve/http_server.h"
#include "runtime/serve/limits.h"

namespace vigil::serve {

struct ServerOptions {
    std::string host = "127.0.0.1";
    int port = 8080;      // 0: any
    std::string api_key;  // empty: none is asked for
    std::string model_name = "model";
    std::size_t queue = 64;  // requests that may wait; further ones get 429
    Limits limits;
    std::function<void(const RequestRecord&)> on_request;  // on the connections' threads
};

class Server {
   public:
    // Listens when it returns. `engine` and `chat` must outlive it; `chat` is null for a model without a template.
    // Throws std::runtime_error if host and port can't be had.
    Server(Engine& engine, const ChatTemplate* chat, ServerOptions options);
    ~Server();  // drain(0)
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    int port() const;
    std::string url() const;

    // Takes no more requests, lets those under way end for `patience`, cancels the rest and returns when no connection
    // is left. `impatient` is asked now and then whether the rest should be cut at once.
    void drain(
        std::chrono::milliseconds patience, const std::function<bool()>& impatient = [] { return false; });

   private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace vigil::serve
