#include "tests/serve/http.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cctype>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace vigil::test {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int kSmallBuffer = 4096;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

}  // namespace

std::string Reply::error_message() const {
    const Json parsed = Json::parse(body, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("error") || !parsed["error"].contains("message")) return {};
    for (const char* member : {"type", "param", "code"})
        if (!parsed["error"].contains(member)) return {};
    return parsed["error"]["message"].get<std::string>();
}

std::string Reply::error_code() const {
    const Json code = json().at("error").at("code");
    return code.is_string() ? code.get<std::string>() : std::string();
}

Socket::Socket(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        throw std::runtime_error(fmt::format("can't connect to port {}", port));
}

Socket::~Socket() {
    close();
}

Socket::Socket(Socket&& other) noexcept : socket_(std::exchange(other.socket_, -1)), seen_(std::move(other.seen_)) {}

void Socket::close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void Socket::reset() {
    const linger none{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close();
}

void Socket::shrink_receive_buffer() const {
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &kSmallBuffer, sizeof kSmallBuffer);
}

bool Socket::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

std::string Socket::read_some(std::chrono::milliseconds time) {
    pollfd waiting{socket_, POLLIN, 0};
    if (poll(&waiting, 1, static_cast<int>(time.count())) <= 0) return {};
    std::array<char, 1 << 16> buffer;
    const ssize_t n = recv(socket_, buffer.data(), buffer.size(), 0);
    if (n <= 0) return {};
    seen_.append(buffer.data(), static_cast<std::size_t>(n));
    return {buffer.data(), static_cast<std::size_t>(n)};
}

std::optional<std::string> Socket::read_to_end(std::chrono::milliseconds time) {
    const auto give_up = Clock::now() + time;
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(give_up - Clock::now());
        pollfd waiting{socket_, POLLIN, 0};
        if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
        if (read_some(0ms).empty()) return seen_;
    }
}

bool Socket::read_until(std::string_view text) {
    while (seen_.find(text) == std::string::npos)
        if (read_some(kPatience).empty()) return false;
    return true;
}

Reply Socket::read_reply() {
    Reply reply;
    if (!read_until("\r\n\r\n")) return reply;
    const std::size_t head_end = seen_.find("\r\n\r\n");
    const std::string head = seen_.substr(0, head_end);
    seen_.erase(0, head_end + 4);
    reply.status = std::stoi(head.substr(head.find(' ') + 1));
    for (std::size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
        const std::string line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
        const std::size_t colon = line.find(": ");
        reply.headers[lower(line.substr(0, colon))] = line.substr(colon + 2);
    }
    const auto need = [&](std::size_t n) {
        while (seen_.size() < n)
            if (read_some(kPatience).empty()) throw std::runtime_error("the reply ends before its end");
    };
    if (reply.headers.contains("content-length")) {
        const std::size_t n = std::stoul(reply.headers["content-length"]);
        need(n);
        reply.body = seen_.substr(0, n);
        seen_.erase(0, n);
    } else if (reply.headers.contains("transfer-encoding")) {
        while (true) {
            if (!read_until("\r\n")) throw std::runtime_error("a chunk has no length");
            const std::size_t line = seen_.find("\r\n") + 2;
            const std::size_t n = std::stoul(seen_, nullptr, 16);
            need(line + n + 2);
            reply.body += seen_.substr(line, n);
            seen_.erase(0, line + n + 2);
            if (n == 0) break;
        }
    }
    return reply;
}

std::string post_text(std::string_view path, std::string_view body, std::string_view more_headers) {
    return fmt::format(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n{}", path,
        body.size(), more_headers, body);
}

Reply get(int port, const std::string& path, const std::string& more_headers) {
    Socket socket(port);
    socket.send(fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, more_headers));
    return socket.read_reply();
}

Reply post_raw(int port, const std::string& path, const std::string& body, const std::string& more_headers) {
    Socket socket(port);
    socket.send(post_text(path, body, more_headers));
    return socket.read_reply();
}

Reply post(int port, const std::string& path, const Json& body) {
    return post_raw(port, path, body.dump());
}

std::vector<Json> events(const Reply& reply) {
    std::vector<Json> result;
    std::string_view text = reply.body;
    while (!text.empty()) {
        const std::size_t end = text.find("\n\n");
        if (!text.starts_with("data: ") || end == std::string_view::npos)
            throw std::runtime_error("this is no event: " + std::string(text.substr(0, 80)));
        const std::string_view data = text.substr(6, end - 6);
        text.remove_prefix(end + 2);
        if (data == "[DONE]") {
            if (!text.empty()) throw std::runtime_error("an event follows [DONE]");
            return result;
        }
        result.push_back(Json::parse(data));
    }
    throw std::runtime_error("the stream ends without [DONE]");
}

}  // namespace vigil::test
