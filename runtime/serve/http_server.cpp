#include "runtime/serve/http_server.h"

#include <cctype>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fmt/format.h>
#include <limits>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "runtime/serve/connection_threads.h"
#include "runtime/serve/request_head.h"

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

ApiError body_error(Connection::ReadFault fault, const Limits& limits) {
    switch (fault) {
        case Connection::ReadFault::timed_out:
            return {408,
                    fmt::format("the body did not come within {} s", limits.body.count() / 1000),
                    "invalid_request_error",
                    {},
                    "timeout"};
        case Connection::ReadFault::too_large:
            return {413,
                    fmt::format("the body is longer than {} bytes", limits.body_bytes),
                    "invalid_request_error",
                    {},
                    "body_too_large"};
        case Connection::ReadFault::closed:
        case Connection::ReadFault::none:
            break;
    }
    return {400, "the body is not what its headers say", "invalid_request_error", {}, "invalid_http"};
}

// The library listens on a port that somebody else has if both say SO_REUSEPORT, as it does by default.
void socket_options(socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

}  // namespace

void answer(httplib::Response& response, const ApiError& error) {
    response.status = error.status;
    response.set_content(error.json(), kJsonType);
}

HttpServer::HttpServer(Options options) : options_(std::move(options)) {
    new_task_queue = [this] { return new ConnectionThreads(options_.limits.connections + kRefusers); };
    set_socket_options(socket_options);
    set_keep_alive_timeout(options_.limits.idle.count() / 1000);
    set_keep_alive_max_count(std::numeric_limits<std::int32_t>::max());
    set_default_headers({{"Server", "vigil"}, {"X-Content-Type-Options", "nosniff"}});
    set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) { return admit(request, response); });
    set_error_handler(Handler([](const httplib::Request&, httplib::Response& response) {
        if (response.body.empty()) answer(response, plain_error(response.status));
    }));
    set_logger([](const httplib::Request& request, const httplib::Response& response) {
        RequestRecord& record = Connection::current()->record;
        record.method = request.method;
        record.path = request.path;
        record.status = response.status;
    });
}

HttpServer::~HttpServer() {
    stop_accepting();
    cut_connections();
    join();
}

void HttpServer::get(const std::string& path, Access access, Route route) {
    paths_.try_emplace(path, Methods{access}).first->second.get = true;
    Get(path, [this, route = std::move(route)](const httplib::Request& request, httplib::Response& response) {
        Exchange exchange{request, response, *Connection::current(), {}};
        run_route(route, exchange);
    });
}

void HttpServer::post(const std::string& path, Access access, Route route) {
    paths_.try_emplace(path, Methods{access}).first->second.post = true;
    Post(path, [this, route = std::move(route)](const httplib::Request& request, httplib::Response& response,
                                                const httplib::ContentReader& read) {
        Exchange exchange{request, response, *Connection::current(), {}};
        bool too_large = false;
        const bool whole = read([&](const char* data, std::size_t size) {
            too_large = exchange.body.size() + size > options_.limits.body_bytes;
            if (!too_large) exchange.body.append(data, size);
            return !too_large;
        });
        if (whole) return run_route(route, exchange);
        exchange.connection.close_after_answer();
        response.set_header("Connection", "close");
        answer(response, body_error(too_large ? Connection::ReadFault::too_large : exchange.connection.read_fault(),
                                    options_.limits));
    });
}

void HttpServer::run_route(const Route& route, Exchange& exchange) {
    try {
        route(exchange);
    } catch (const ApiError& error) {
        answer(exchange.response, error);
    } catch (const std::exception& error) {
        answer(exchange.response, {500, error.what(), "server_error"});
    }
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
    Connection connection(socket, next_id_++, options_.limits);
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
        head = check_head(connection.head(), options_.limits);
    } catch (const ApiError& error) {
        refuse(connection, error);
        return false;
    }
    connection.begin_body();
    bool closes = head.asks_to_close;
    const bool answered = process_request(connection, closes, closes, [](httplib::Request& request) {
        // Compressing a short answer takes longer than sending it, and nobody wants a part of one.
        request.headers.erase("Accept-Encoding");
        request.ranges.clear();
    });
    const bool taken = connection.flush_all();
    report(connection);
    if (connection.closes_after_answer()) connection.say_goodbye();
    return answered && taken && !closes && !head.asks_to_close && !connection.closes_after_answer();
}

void HttpServer::refuse(Connection& connection, const ApiError& error) {
    const std::string body = error.json();
    const std::string text = fmt::format(
        "HTTP/1.1 {} {}\r\nServer: vigil\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: "
        "close\r\n\r\n{}",
        error.status, reason_phrase(error.status), kJsonType, body.size(), body);
    connection.write(text.data(), text.size());
    connection.flush_all();
    connection.record.status = error.status;
    connection.record.note = error.what();
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

// What can be refused before the body is read. The body then never is, so the connection ends with the answer.
httplib::Server::HandlerResponse HttpServer::admit(const httplib::Request& request, httplib::Response& response) {
    const auto reject = [&](const ApiError& error) {
        answer(response, error);
        if (request.method != "GET" && request.method != "HEAD") {
            Connection::current()->close_after_answer();
            response.set_header("Connection", "close");
        }
        return HandlerResponse::Handled;
    };
    const auto path = paths_.find(request.path);
    if (path == paths_.end())
        return reject(
            {404, fmt::format("there is nothing at {}", request.path), "invalid_request_error", {}, "not_found"});
    const Methods& methods = path->second;
    const bool is_get = request.method == "GET" || request.method == "HEAD";
    if (!(is_get ? methods.get : request.method == "POST" && methods.post)) {
        response.set_header("Allow", methods.get ? (methods.post ? "GET, HEAD, POST" : "GET, HEAD") : "POST");
        return reject({405,
                       fmt::format("{} is not for {}", request.path, request.method),
                       "invalid_request_error",
                       {},
                       "method_not_allowed"});
    }
    if (methods.access == Access::with_key && !has_key(request)) {
        response.set_header("WWW-Authenticate", "Bearer");
        return reject({401,
                       "the API key is missing or wrong: send it as 'Authorization: Bearer KEY'",
                       "invalid_request_error",
                       {},
                       "invalid_api_key"});
    }
    if (is_get) return HandlerResponse::Unhandled;
    // Other types could be sent by any page that a browser shows, without the browser asking first.
    if (!is_json(request.get_header_value("Content-Type")))
        return reject(
            {415, "the Content-Type has to be application/json", "invalid_request_error", {}, "invalid_content_type"});
    if (request.has_header("Content-Encoding") && request.get_header_value("Content-Encoding") != "identity")
        return reject(
            {415, "a Content-Encoding is not taken", "invalid_request_error", {}, "invalid_content_encoding"});
    if (stopping_) return reject({503, "the server is shutting down", "server_error", {}, "shutting_down"});
    return HandlerResponse::Unhandled;
}

bool HttpServer::has_key(const httplib::Request& request) const {
    if (options_.api_key.empty()) return true;
    constexpr std::string_view scheme = "Bearer ";
    const std::string given = request.get_header_value("Authorization");
    return given.starts_with(scheme) && same_secret(std::string_view(given).substr(scheme.size()), options_.api_key);
}

}  // namespace vigil::serve
