#include "runtime/serve/http_server.h"

#include <cctype>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "runtime/serve/connection_threads.h"
#include "runtime/serve/request_body.h"

namespace vigil::serve {
namespace {

constexpr int kBacklog = 512;
// Threads beyond those of admitted connections, to tell others that there is no room.
constexpr std::size_t kRefusers = 4;
constexpr const char* kJsonType = "application/json";

// Compares in a time that depends on the length of `given` alone.
bool same_secret(std::string_view given, std::string_view secret) {
    std::size_t difference = given.size() ^ secret.size();
    for (std::size_t i = 0; i < given.size(); ++i)
        difference |= static_cast<unsigned char>(given[i] ^ secret[secret.empty() ? 0 : i % secret.size()]);
    return difference == 0;
}

bool is_json(std::string_view content_type) {
    std::string type(content_type.substr(0, content_type.find(';')));
    type.erase(type.find_last_not_of(" \t") + 1);
    for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return type == kJsonType;
}

// The library listens on a port that somebody else has if both say SO_REUSEPORT, as it does by default.
void socket_options(socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

}  // namespace

HttpServer::HttpServer(Options options) : options_(std::move(options)) {
    new_task_queue = [this] { return new ConnectionThreads(options_.limits.connections + kRefusers); };
    set_socket_options(socket_options);
}

HttpServer::~HttpServer() {
    stop_accepting();
    cut_connections();
    join();
}

void HttpServer::get(const std::string& path, Access access, Route route) {
    paths_.try_emplace(path, Methods{access, {}, {}}).first->second.get = std::move(route);
}

void HttpServer::post(const std::string& path, Access access, Route route) {
    paths_.try_emplace(path, Methods{access, {}, {}}).first->second.post = std::move(route);
}

void HttpServer::start() {
    const std::string place = fmt::format("{}:{}", options_.host, options_.port);
    if (options_.port == 0) {
        port_ = bind_to_any_port(options_.host);
    } else {
        port_ = bind_to_port(options_.host, options_.port) ? options_.port : -1;
    }
    if (port_ <= 0) throw std::runtime_error(fmt::format("can't listen on {}: {}", place, std::strerror(errno)));
    // The library's own backlog is five: a burst of clients would wait for their second attempt.
    ::listen(svr_sock_, kBacklog);
    thread_ = std::thread([this] { listen_after_bind(); });
}

void HttpServer::stop_accepting() {
    if (stopping_.exchange(true) || !thread_.joinable()) return;
    // Not stop(): that would cut the answers under way as well.
    ::shutdown(svr_sock_, SHUT_RDWR);
    const std::lock_guard lock(mutex_);
    for (const auto& [socket, idle] : open_)
        if (idle) ::shutdown(socket, SHUT_RD);
}

void HttpServer::cut_connections() {
    const std::lock_guard lock(mutex_);
    for (const auto& [socket, idle] : open_) ::shutdown(socket, SHUT_RDWR);
}

void HttpServer::join() {
    if (thread_.joinable()) thread_.join();
}

bool HttpServer::process_and_close_socket(socket_t socket) {
    Connection connection(socket, options_.limits);
    if (++n_connections_ > options_.limits.connections) {
        refuse(connection, {503,
                            fmt::format("{} connections are open already", options_.limits.connections),
                            "server_error",
                            {},
                            "too_many_connections"});
    } else {
        try {
            serve(connection);
        } catch (const std::exception&) {
            // Out of memory, at the most: the connection ends, the server does not.
        }
    }
    {
        const std::lock_guard lock(mutex_);
        open_.erase(socket);
    }
    --n_connections_;
    return true;
}

void HttpServer::serve(Connection& connection) {
    const auto set_idle = [&](bool idle) {
        const std::lock_guard lock(mutex_);
        open_[connection.socket()] = idle;
        return !stopping_;
    };
    while (set_idle(true)) {
        const Connection::Arrival arrival = connection.await_head();
        set_idle(false);
        switch (arrival) {
            case Connection::Arrival::head:
                if (serve_request(connection)) continue;
                return;
            case Connection::Arrival::closed:
                return;
            case Connection::Arrival::timed_out:
                return refuse(connection,
                              {408, "the request's head did not come in time", "invalid_request_error", {}, "timeout"});
            case Connection::Arrival::too_large:
                return refuse(connection,
                              {431,
                               fmt::format("the request's head is longer than {} bytes", options_.limits.head_bytes),
                               "invalid_request_error",
                               {},
                               "head_too_large"});
            case Connection::Arrival::no_http:
                return refuse(connection, {400, "this is no HTTP", "invalid_request_error", {}, "invalid_http"});
        }
    }
}

bool HttpServer::serve_request(Connection& connection) {
    RequestHead head;
    try {
        head = read_head(connection.head(), options_.limits);
    } catch (const ApiError& error) {
        refuse(connection, error);
        return false;
    }
    connection.begin_body();
    Response response;
    Exchange exchange{head, response, connection, {}};
    bool is_read = !head.has_body;
    try {
        const Route& route = admit(head, response);
        exchange.body = read_body(connection, head, options_.limits);
        is_read = true;
        route(exchange);
    } catch (const ApiError& error) {
        response.set_error(error);
    } catch (const std::exception& error) {
        response.set_error({500, error.what(), "server_error"});
    }
    // Of a body that was not read the end is not known.
    if (!is_read) connection.close_after_answer();
    connection.record.method = head.method;
    connection.record.path = head.path;
    connection.record.status = response.status;
    const bool goes_on = send_response(connection, head, response);
    report(connection);
    if (connection.closes_after_answer()) connection.say_goodbye();
    return goes_on;
}

void HttpServer::refuse(Connection& connection, const ApiError& error) {
    Response response;
    response.set_error(error);
    connection.close_after_answer();
    connection.record.status = error.status;
    connection.record.note = error.what();
    send_response(connection, {}, response);
    report(connection);
    connection.say_goodbye();
}

void HttpServer::report(Connection& connection) {
    RequestRecord& record = connection.record;
    record.peer = connection.peer();
    record.bytes = connection.bytes_written();
    record.ms =
        std::chrono::duration<double, std::milli>(Connection::Clock::now() - connection.request_arrived()).count();
    if (options_.on_request) options_.on_request(record);
    record = {};
}

// What can be refused before the body is read is.
const HttpServer::Route& HttpServer::admit(const RequestHead& head, Response& response) const {
    const auto error = [](int status, const std::string& message, const char* code) {
        return ApiError(status, message, "invalid_request_error", {}, code);
    };
    const auto path = paths_.find(head.path);
    if (path == paths_.end()) throw error(404, fmt::format("there is nothing at {}", head.path), "not_found");
    const Methods& methods = path->second;
    const bool is_get = head.method == "GET" || head.method == "HEAD";
    const Route& route = is_get ? methods.get : methods.post;
    if (!route || !(is_get || head.method == "POST")) {
        response.headers.emplace_back("Allow", methods.get ? (methods.post ? "GET, HEAD, POST" : "GET, HEAD") : "POST");
        throw error(405, fmt::format("{} is not for {}", head.path, head.method), "method_not_allowed");
    }
    if (methods.access == Access::with_key && !has_key(head)) {
        response.headers.emplace_back("WWW-Authenticate", "Bearer");
        throw error(401, "the API key is missing or wrong: send it as 'Authorization: Bearer KEY'", "invalid_api_key");
    }
    if (is_get) return route;
    // Other types could be sent by any page that a browser shows, without the browser asking first.
    if (!is_json(head.content_type))
        throw error(415, "the Content-Type has to be application/json", "invalid_content_type");
    if (!head.content_encoding.empty() && head.content_encoding != "identity")
        throw error(415, "a Content-Encoding is not taken", "invalid_content_encoding");
    if (stopping_) throw ApiError(503, "the server is shutting down", "server_error", {}, "shutting_down");
    return route;
}

bool HttpServer::has_key(const RequestHead& head) const {
    if (options_.api_key.empty()) return true;
    constexpr std::string_view scheme = "Bearer ";
    return head.authorization.starts_with(scheme) &&
           same_secret(head.authorization.substr(scheme.size()), options_.api_key);
}

}  // namespace vigil::serve
