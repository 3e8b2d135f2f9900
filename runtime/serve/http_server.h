// HTTP/1.1 with limits: accepts connections, hands whole requests to the route they name, and answers everything that
// is wrong below that with an error in the API's shape. cpp-httplib listens; the messages are read and written here
// (request_head.h, request_body.h, response.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <httplib.h>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "runtime/serve/api_error.h"
#include "runtime/serve/connection.h"
#include "runtime/serve/limits.h"
#include "runtime/serve/request_head.h"
#include "runtime/serve/response.h"

namespace vigil::serve {

// A request that has arrived whole, and its answer.
struct Exchange {
    const RequestHead& head;
    Response& response;
    Connection& connection;
    std::string body;  // of a POST; its Content-Type is application/json
};

class HttpServer final : private httplib::Server {
   public:
    struct Options {
        std::string host = "127.0.0.1";
        int port = 8080;  // 0: any
        Limits limits;
        std::string api_key;                                   // empty: none is asked for
        std::function<void(const RequestRecord&)> on_request;  // on the thread of the connection
    };
    using Route = std::function<void(Exchange&)>;  // may throw ApiError
    enum class Access { open, with_key };

    explicit HttpServer(Options options);
    ~HttpServer() override;

    void get(const std::string& path, Access access, Route route);
    void post(const std::string& path, Access access, Route route);

    // Binds and begins to accept. Throws std::runtime_error naming host, port and reason.
    void start();
    int port() const noexcept { return port_; }

    // No more connections; those that are idle end, the others after their answer. Returns at once.
    void stop_accepting();
    bool stopping() const noexcept { return stopping_; }
    // Cuts every connection.
    void cut_connections();
    // Returns when no connection is left.
    void join();

    std::size_t connections() const noexcept { return n_connections_; }

   private:
    struct Methods {
        Access access;
        Route get, post;  // empty: there is none
    };

    bool process_and_close_socket(socket_t socket) override;
    void serve(Connection& connection);
    bool serve_request(Connection& connection);  // whether another may follow
    void refuse(Connection& connection, const ApiError& error);
    void report(Connection& connection);
    const Route& admit(const RequestHead& head, Response& response) const;  // throws ApiError
    bool has_key(const RequestHead& head) const;

    const Options options_;
    std::map<std::string, Methods> paths_;
    std::thread thread_;
    int port_ = 0;
    std::atomic<bool> stopping_{false};
    std::atomic<std::size_t> n_connections_{0};
    std::mutex mutex_;          // of open_
    std::map<int, bool> open_;  // sockets, and whether they are idle
};

}  // namespace vigil::serve
