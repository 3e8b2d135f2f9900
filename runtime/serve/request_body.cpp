#include "runtime/serve/request_body.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fmt/format.h>
#include <string_view>

#include "runtime/serve/api_error.h"

namespace vigil::serve {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::size_t kLongestSizeLine = 1 << 10;  // a chunk's size, and what extensions the client sees in it
// Sizes and ends of chunks may be longer than what is in them.
constexpr std::size_t kFramingFactor = 2;
constexpr std::size_t kFramingSlack = 64 << 10;

class BodyReader {
   public:
    BodyReader(Connection& connection, const Limits& limits) : connection_(connection), limits_(limits) {}

    std::string sized(std::uint64_t size) {
        std::string body;
        take(size, body);
        return body;
    }

    std::string chunked() {
        std::string body;
        while (const std::uint64_t size = chunk_size()) {
            if (size > limits_.body_bytes - body.size()) too_large();
            take(size, body);
            if (!line().empty()) malformed();
        }
        // Headers could stand here; nobody sends them.
        if (!line().empty()) malformed();
        return body;
    }

   private:
    void take(std::uint64_t size, std::string& body) {
        while (size > 0) {
            const std::string_view piece = connection_.arrived().substr(0, size);
            body += piece;
            connection_.take(piece.size());
            size -= piece.size();
            if (size > 0) await_more();
        }
    }

    std::string line() {
        while (true) {
            const std::string_view arrived = connection_.arrived();
            const std::size_t end = arrived.find(kLineEnd);
            if (end > kLongestSizeLine && arrived.size() > kLongestSizeLine) malformed();
            if (end != std::string_view::npos) {
                std::string line(arrived.substr(0, end));
                connection_.take(end + kLineEnd.size());
                framing_ += end + kLineEnd.size();
                if (framing_ > kFramingFactor * limits_.body_bytes + kFramingSlack) too_large();
                return line;
            }
            await_more();
        }
    }

    std::uint64_t chunk_size() {
        const std::string text = line();
        std::uint64_t size = 0;
        const char* const last = text.data() + text.size();
        const auto [end, error] = std::from_chars(text.data(), last, size, 16);
        // Behind it may be an extension, which says nothing here.
        if (error != std::errc() || (end != last && *end != ';' && *end != ' ' && *end != '\t')) malformed();
        return size;
    }

    void await_more() {
        if (connection_.await_more()) return;
        if (connection_.read_fault() != Connection::ReadFault::timed_out) malformed();
        throw ApiError(408, fmt::format("the body did not come within {} s", limits_.body.count() / 1000),
                       "invalid_request_error", {}, "timeout");
    }

    [[noreturn]] void too_large() const {
        throw ApiError(413, fmt::format("the body is longer than {} bytes", limits_.body_bytes),
                       "invalid_request_error", {}, "body_too_large");
    }

    [[noreturn]] static void malformed() {
        throw ApiError(400, "the body is not what its headers say", "invalid_request_error", {}, "invalid_http");
    }

    Connection& connection_;
    const Limits& limits_;
    std::size_t framing_ = 0;
};

}  // namespace

std::string read_body(Connection& connection, const RequestHead& head, const Limits& limits) {
    if (head.awaits_continue && head.is_1_1 && connection.arrived().empty()) {
        connection.write("HTTP/1.1 100 Continue\r\n\r\n");
        connection.flush_some();
    }
    BodyReader reader(connection, limits);
    return head.is_chunked ? reader.chunked() : reader.sized(head.content_length);
}

}  // namespace vigil::serve
