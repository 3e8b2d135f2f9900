#include "runtime/serve/request_head.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fmt/format.h>
#include <optional>
#include <string>

#include "runtime/serve/api_error.h"

namespace vigil::serve {
namespace {

constexpr std::size_t kLongestMethod = 16;

// RFC 9110, section 5.6.2.
bool is_token_char(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
}

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return result;
}

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

[[noreturn]] void refuse(int status, const std::string& message, const char* code = "invalid_http") {
    throw ApiError(status, message, "invalid_request_error", {}, code);
}

struct RequestLine {
    std::string_view method, target, version;
};

RequestLine read_request_line(std::string_view line) {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last || line.find(' ', first + 1) != last)
        refuse(400, "the request line is not 'METHOD TARGET VERSION'");
    const RequestLine result{line.substr(0, first), line.substr(first + 1, last - first - 1), line.substr(last + 1)};
    if (!is_token(result.method) || result.method.size() > kLongestMethod)
        refuse(400, "the request's method is not an HTTP method");
    if (result.version != "HTTP/1.1" && result.version != "HTTP/1.0") {
        if (result.version.starts_with("HTTP/")) refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        refuse(400, "the request line does not end in an HTTP version");
    }
    if (result.target.empty() || (result.target.front() != '/' && result.target != "*") ||
        std::count(result.target.begin(), result.target.end(), '?') > 1)
        refuse(400, "the request's target is not a path");
    // The library knows these methods alone and calls others malformed.
    static constexpr std::string_view known[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                                 "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    if (std::find(std::begin(known), std::end(known), result.method) == std::end(known))
        refuse(405, fmt::format("there is no method {}", result.method), "method_not_allowed");
    return result;
}

// What the headers say of the body and the connection.
struct HeaderFacts {
    std::optional<std::uint64_t> content_length;
    bool chunked = false;
    bool has_host = false;
    bool closes = false;
    bool keeps_alive = false;
};

void take_content_length(std::string_view value, HeaderFacts& facts) {
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error != std::errc() || end != value.data() + value.size())
        refuse(400, fmt::format("Content-Length is not a number of bytes: '{}'", value.substr(0, 40)));
    if (facts.content_length) refuse(400, "Content-Length is given twice");
    facts.content_length = length;
}

void take_header(std::string_view line, HeaderFacts& facts) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) refuse(400, "a header line has no colon");
    const std::string_view name = line.substr(0, colon);
    if (!is_token(name)) refuse(400, "a header's name has characters that no name has");
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (std::any_of(value.begin(), value.end(), [](char c) { return is_control(c) && c != '\t'; }))
        refuse(400, fmt::format("the header {} has control characters", name));
    const std::string key = lower(name);
    if (key == "content-length") take_content_length(value, facts);
    if (key == "transfer-encoding") {
        if (lower(value) != "chunked" || facts.chunked)
            refuse(400, "the only Transfer-Encoding taken is a single 'chunked'");
        facts.chunked = true;
    }
    if (key == "host") {
        if (facts.has_host) refuse(400, "Host is given twice");
        facts.has_host = true;
    }
    if (key == "connection") {
        const std::string options = lower(value);
        facts.closes |= options.find("close") != std::string::npos;
        facts.keeps_alive |= options.find("keep-alive") != std::string::npos;
    }
    if (key == "expect" && lower(value) != "100-continue") refuse(417, "the only Expect taken is 100-continue");
}

}  // namespace

RequestHead check_head(std::string_view head, const Limits& limits) {
    const auto next_line = [&head] {
        const std::size_t end = head.find("\r\n");
        const std::string_view line = head.substr(0, end);
        head.remove_prefix(end + 2);
        return line;
    };
    const std::string_view first = next_line();
    if (first.size() > limits.line_bytes)
        refuse(414,
               fmt::format("the request line has {} bytes, at most {} are taken", first.size(), limits.line_bytes));
    if (std::any_of(first.begin(), first.end(), is_control)) refuse(400, "the request line has control characters");
    const RequestLine request = read_request_line(first);
    HeaderFacts facts;
    for (std::string_view line = next_line(); !line.empty(); line = next_line()) {
        if (line.size() > limits.line_bytes)
            refuse(431, fmt::format("a header has {} bytes, at most {} are taken", line.size(), limits.line_bytes));
        if (line.front() == ' ' || line.front() == '\t') refuse(400, "a header is continued on a second line");
        take_header(line, facts);
    }
    const bool modern = request.version == "HTTP/1.1";
    if (modern && !facts.has_host) refuse(400, "HTTP/1.1 needs a Host header");
    if (facts.chunked && facts.content_length) refuse(400, "Content-Length and Transfer-Encoding exclude each other");
    if (facts.chunked && !modern) refuse(400, "HTTP/1.0 has no Transfer-Encoding");
    if (facts.content_length.value_or(0) > limits.body_bytes)
        refuse(413,
               fmt::format("the body has {} bytes, at most {} are taken", *facts.content_length, limits.body_bytes),
               "body_too_large");
    const bool takes_body = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
    const bool has_body = facts.chunked || facts.content_length.value_or(0) > 0;
    if (has_body && !takes_body) refuse(400, fmt::format("a {} request has no body", request.method));
    // Without either the library would read until the client closes.
    if (takes_body && !facts.chunked && !facts.content_length)
        refuse(411, "the request needs a Content-Length or Transfer-Encoding: chunked");
    return {.has_body = has_body, .asks_to_close = facts.closes || (!modern && !facts.keeps_alive)};
}

bool may_begin_request(std::string_view bytes) {
    const std::string_view method = bytes.substr(0, std::min(bytes.find(' '), kLongestMethod + 1));
    if (method.size() > kLongestMethod) return false;
    return std::all_of(method.begin(), method.end(), is_token_char);
}

}  // namespace vigil::serve
