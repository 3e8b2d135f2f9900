#include "runtime/serve/connection.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/serve/request_head.h"

namespace vigil::serve {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kPiece = 16 << 10;
constexpr std::string_view kEndOfHead = "\r\n\r\n";
constexpr auto kGoodbye = 500ms;
constexpr std::size_t kGoodbyeBytes = 8 << 20;

// Whether `events` came before `deadline`.
bool await_socket(int socket, short events, Connection::Clock::time_point deadline) {
    while (true) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Connection::Clock::now());
        pollfd waiting{socket, events, 0};
        const int n = poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
        if (n > 0) return true;
        if (n == 0 || errno != EINTR) return false;
    }
}

template <class T>
void set_option(int socket, int level, int name, T value) {
    setsockopt(socket, level, name, &value, sizeof value);
}

std::string peer_of(int socket) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    char ip[INET6_ADDRSTRLEN] = "";
    if (address.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
        inet_ntop(AF_INET6, &v6.sin6_addr, ip, sizeof ip);
        return fmt::format("[{}]:{}", ip, ntohs(v6.sin6_port));
    }
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, ip, sizeof ip);
    return fmt::format("{}:{}", ip, ntohs(v4.sin_port));
}

}  // namespace

// The peer is asked for now: later it may have gone.
Connection::Connection(int socket, const Limits& limits)
    : socket_(socket), limits_(limits), peer_(peer_of(socket)), last_taken_(Clock::now()) {
    set_option(socket_, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(socket_, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(socket_, SOL_SOCKET, SO_SNDBUF, limits_.socket_buffer);
    // A client whose machine has gone answers nothing, not even that it has gone.
    set_option(socket_, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<unsigned>(limits_.write.count()));
}

Connection::~Connection() {
    close(socket_);
}

Connection::Arrival Connection::await_head() {
    input_.erase(0, at_);
    at_ = 0;
    head_bytes_ = 0;
    read_fault_ = ReadFault::none;
    bytes_written_ = 0;
    request_arrived_ = Clock::now();
    bool begun = !input_.empty();
    auto deadline = Clock::now() + (begun ? limits_.head : limits_.idle);
    while (true) {
        // Empty lines before a request are none of it (RFC 9112, section 2.2).
        while (input_.starts_with("\r\n")) input_.erase(0, 2);
        const std::size_t end = input_.find(kEndOfHead);
        if (end != std::string::npos && end + kEndOfHead.size() <= limits_.head_bytes) {
            head_bytes_ = end + kEndOfHead.size();
            request_arrived_ = Clock::now();
            return Arrival::head;
        }
        if (input_.size() > limits_.head_bytes) return Arrival::too_large;
        if (!may_begin_request(input_)) return Arrival::no_http;
        if (!fill(deadline)) return read_fault_ == ReadFault::timed_out && begun ? Arrival::timed_out : Arrival::closed;
        if (!begun) deadline = Clock::now() + limits_.head;
        begun = true;
    }
}

void Connection::begin_body() {
    at_ += head_bytes_;
    head_bytes_ = 0;
    read_deadline_ = Clock::now() + limits_.body;
    waited_ = {};
}

bool Connection::await_more() {
    input_.erase(0, at_);
    at_ = 0;
    return fill(read_deadline_);
}

bool Connection::fill(Clock::time_point deadline) {
    std::array<char, kPiece> piece;
    const auto receive = [&] { return recv(socket_, piece.data(), piece.size(), MSG_DONTWAIT); };
    // A body has mostly come with its head: then nothing is waited for.
    ssize_t n = receive();
    while (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        const auto from = Clock::now();
        const bool came = await_socket(socket_, POLLIN, deadline);
        waited_ += Clock::now() - from;
        if (!came) {
            read_fault_ = ReadFault::timed_out;
            break;
        }
        n = receive();
    }
    if (n > 0)
        input_.append(piece.data(), static_cast<std::size_t>(n));
    else if (read_fault_ == ReadFault::none)
        read_fault_ = ReadFault::closed;
    return n > 0;
}

void Connection::write(std::string_view bytes) {
    broken_ |= output_.size() - sent_ > limits_.unsent_bytes;
    if (broken_) return;
    if (sent_ == output_.size()) last_taken_ = Clock::now();
    output_ += bytes;
    bytes_written_ += bytes.size();
}

bool Connection::flush_some() {
    while (!broken_ && sent_ < output_.size()) {
        const ssize_t n = send(socket_, output_.data() + sent_, output_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent_ += static_cast<std::size_t>(n);
            last_taken_ = Clock::now();
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            broken_ = Clock::now() - last_taken_ > limits_.write;
            break;
        } else if (errno != EINTR) {
            broken_ = true;
        }
    }
    if (sent_ == output_.size()) {
        output_.clear();
        sent_ = 0;
    } else if (sent_ > limits_.unsent_bytes) {
        output_.erase(0, sent_);
        sent_ = 0;
    }
    return !broken_;
}

bool Connection::flush_all() {
    while (flush_some() && sent_ < output_.size())
        if (!await_socket(socket_, POLLOUT, last_taken_ + limits_.write)) broken_ = true;
    return !broken_;
}

void Connection::say_goodbye() {
    if (broken_) return;
    shutdown(socket_, SHUT_WR);
    const auto deadline = Clock::now() + kGoodbye;
    for (std::size_t taken = 0; taken < kGoodbyeBytes; taken += input_.size()) {
        input_.clear();
        if (!fill(deadline)) return;
    }
}

}  // namespace vigil::serve
