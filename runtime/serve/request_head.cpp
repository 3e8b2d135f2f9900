#include "runtime/serve/request_head.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <utility>

#include "runtime/serve/api_error.h"

namespace vigil::serve {
namespace {

constexpr std::size_t kLongestMethod = 16;

// RFC 9110, section 5.6.2.
constexpr std::array<bool, 256> kTokenChars = [] {
    std::array<bool, 256> is{};
    for (unsigned char c = '0'; c <= '9'; ++c) is[c] = true;
    for (unsigned char c = 'A'; c <= 'Z'; ++c) is[c] = is[c | 0x20u] = true;
    for (const unsigned char c : std::string_view("!#$%&'*+-.^_`|~")) is[c] = true;
    return is;
}();

bool is_token_char(char c) {
    return kTokenChars[static_cast<unsigned char>(c)];
}

bool is_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

// `word` is in lower case.
bool is_word(std::string_view text, std::string_view word) {
    return std::equal(text.begin(), text.end(), word.begin(), word.end(), [](char a, char b) { return lower(a) == b; });
}

bool has_word(std::string_view text, std::string_view word) {
    return std::search(text.begin(), text.end(), word.begin(), word.end(),
                       [](char a, char b) { return lower(a) == b; }) != text.end();
}

std::string_view trimmed(std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

[[noreturn]] void refuse(int status, const std::string& message, const char* code = "invalid_http") {
    throw ApiError(status, message, "invalid_request_error", {}, code);
}

// With the bytes that %XX stand for; what is no such thing stays.
std::string decoded(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    while (!text.empty()) {
        unsigned byte = 0;
        const bool escapes = text.front() == '%' && text.size() >= 3 &&
                             std::from_chars(text.data() + 1, text.data() + 3, byte, 16).ptr == text.data() + 3;
        result += escapes ? static_cast<char>(byte) : text.front();
        text.remove_prefix(escapes ? 3 : 1);
    }
    return result;
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
    static constexpr std::string_view known[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                                 "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    if (std::find(std::begin(known), std::end(known), result.method) == std::end(known))
        refuse(405, fmt::format("there is no method {}", result.method), "method_not_allowed");
    return result;
}

// What has to be known of the headers until all are read.
struct HeaderFacts {
    bool has_length = false;
    bool has_host = false;
    bool closes = false;
    bool keeps_alive = false;
};

std::uint64_t read_length(std::string_view value) {
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error != std::errc() || end != value.data() + value.size())
        refuse(400, fmt::format("Content-Length is not a number of bytes: '{}'", value.substr(0, 40)));
    return length;
}

void take_header(std::string_view line, RequestHead& head, HeaderFacts& facts) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) refuse(400, "a header line has no colon");
    const std::string_view name = line.substr(0, colon);
    if (!is_token(name)) refuse(400, "a header's name has characters that no name has");
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (std::any_of(value.begin(), value.end(), [](char c) { return is_control(c) && c != '\t'; }))
        refuse(400, fmt::format("the header {} has control characters", name));
    if (is_word(name, "content-length")) {
        if (std::exchange(facts.has_length, true)) refuse(400, "Content-Length is given twice");
        head.content_length = read_length(value);
    } else if (is_word(name, "transfer-encoding")) {
        if (!is_word(value, "chunked") || std::exchange(head.is_chunked, true))
            refuse(400, "the only Transfer-Encoding taken is a single 'chunked'");
    } else if (is_word(name, "host")) {
        if (std::exchange(facts.has_host, true)) refuse(400, "Host is given twice");
    } else if (is_word(name, "connection")) {
        facts.closes |= has_word(value, "close");
        facts.keeps_alive |= has_word(value, "keep-alive");
    } else if (is_word(name, "expect")) {
        if (!is_word(value, "100-continue")) refuse(417, "the only Expect taken is 100-continue");
        head.awaits_continue = true;
    } else if (is_word(name, "authorization")) {
        head.authorization = value;
    } else if (is_word(name, "content-type")) {
        head.content_type = value;
    } else if (is_word(name, "content-encoding")) {
        head.content_encoding = value;
    }
}

}  // namespace

RequestHead read_head(std::string_view bytes, const Limits& limits) {
    const auto next_line = [&bytes] {
        const std::size_t end = bytes.find("\r\n");
        const std::string_view line = bytes.substr(0, end);
        bytes.remove_prefix(end + 2);
        return line;
    };
    const std::string_view first = next_line();
    if (first.size() > limits.line_bytes)
        refuse(414,
               fmt::format("the request line has {} bytes, at most {} are taken", first.size(), limits.line_bytes));
    if (std::any_of(first.begin(), first.end(), is_control)) refuse(400, "the request line has control characters");
    const RequestLine request = read_request_line(first);
    RequestHead head;
    HeaderFacts facts;
    for (std::string_view line = next_line(); !line.empty(); line = next_line()) {
        if (line.size() > limits.line_bytes)
            refuse(431, fmt::format("a header has {} bytes, at most {} are taken", line.size(), limits.line_bytes));
        if (line.front() == ' ' || line.front() == '\t') refuse(400, "a header is continued on a second line");
        take_header(line, head, facts);
    }
    head.method = request.method;
    head.path = decoded(request.target.substr(0, request.target.find('?')));
    head.is_1_1 = request.version == "HTTP/1.1";
    head.has_body = head.is_chunked || head.content_length > 0;
    head.asks_to_close = facts.closes || (!head.is_1_1 && !facts.keeps_alive);
    if (head.is_1_1 && !facts.has_host) refuse(400, "HTTP/1.1 needs a Host header");
    if (head.is_chunked && facts.has_length) refuse(400, "Content-Length and Transfer-Encoding exclude each other");
    if (head.is_chunked && !head.is_1_1) refuse(400, "HTTP/1.0 has no Transfer-Encoding");
    if (head.content_length > limits.body_bytes)
        refuse(413, fmt::format("the body has {} bytes, at most {} are taken", head.content_length, limits.body_bytes),
               "body_too_large");
    const bool takes_body = head.method == "POST" || head.method == "PUT" || head.method == "PATCH";
    if (head.has_body && !takes_body) refuse(400, fmt::format("a {} request has no body", head.method));
    if (takes_body && !head.is_chunked && !facts.has_length)
        refuse(411, "the request needs a Content-Length or Transfer-Encoding: chunked");
    return head;
}

bool may_begin_request(std::string_view bytes) {
    const std::string_view method = bytes.substr(0, std::min(bytes.find(' '), kLongestMethod + 1));
    if (method.size() > kLongestMethod) return false;
    return std::all_of(method.begin(), method.end(), is_token_char);
}

}  // namespace vigil::serve
