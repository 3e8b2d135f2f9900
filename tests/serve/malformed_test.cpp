// Requests that are wrong below the level of fields: 300 of them, each answered by a 4xx with a message, after which
// the server still serves.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/serve/server_fixture.h"

using namespace vigil::test;

namespace {

TestServer& server() {
    static TestServer the_server([](auto& options) {
        options.limits.head = std::chrono::milliseconds(300);
        options.limits.body = std::chrono::seconds(3 * kSlowdown);
    });
    return the_server;
}

constexpr const char* kGoodBody = R"({"prompt": "a", "max_tokens": 1})";

// Sends `bytes` and expects a 4xx (or 505) with a message.
void check_refused(const std::string& name, const std::string& bytes, int status = 0) {
    CAPTURE(name);
    Socket socket(server().port());
    socket.send(bytes);
    const Reply reply = socket.read_reply();
    CAPTURE(reply.body);
    if (status != 0)
        CHECK(reply.status == status);
    else
        CHECK((reply.status >= 400 && reply.status < 500));
    CHECK_FALSE(reply.error_message().empty());
}

std::string with_body(const std::string& body) {
    return post_text("/v1/completions", body);
}

std::string request_with(const std::string& headers) {
    return fmt::format("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{}\r\n{}",
                       headers, kGoodBody);
}

std::string length_header() {
    return fmt::format("Content-Length: {}\r\n", std::string(kGoodBody).size());
}

}  // namespace

TEST_CASE("bodies that are no JSON objects are refused") {
    const std::string deep_arrays(100'000, '[');
    const std::string deep_in_prompt = R"({"prompt": )" + std::string(40, '[') + "1" + std::string(40, ']') + "}";
    std::string many = R"({"prompt": [)";
    for (int i = 0; i < 600'000; ++i) many += "[],";
    many += "[]]}";
    std::vector<std::pair<std::string, std::string>> bodies = {
        {"empty", ""},
        {"space", "   "},
        {"null", "null"},
        {"number", "5"},
        {"text", "\"a\""},
        {"array", "[]"},
        {"open object", "{"},
        {"open text", R"({"prompt": "a)"},
        {"single quotes", "{'prompt': 'a'}"},
        {"trailing comma", R"({"prompt": "a",})"},
        {"two documents", R"({"prompt": "a"} {})"},
        {"comment", R"({"prompt": "a" /* b */})"},
        {"NaN", R"({"prompt": "a", "temperature": NaN})"},
        {"Infinity", R"({"prompt": "a", "temperature": Infinity})"},
        {"1e999", R"({"prompt": "a", "temperature": 1e999})"},
        {"leading zero", R"({"prompt": "a", "top_k": 01})"},
        {"plus", R"({"prompt": "a", "top_k": +1})"},
        {"huge integer", R"({"prompt": "a", "top_k": 99999999999999999999999999999999})"},
        {"huge seed", R"({"prompt": "a", "seed": 18446744073709551616})"},
        {"lone surrogate", R"({"prompt": "\ud800"})"},
        {"reversed surrogates", R"({"prompt": "\udc00\ud800"})"},
        {"bad escape", R"({"prompt": "\x41"})"},
        {"control character", "{\"prompt\": \"a\nb\"}"},
        {"NUL", std::string("{\"prompt\": \"a\0b\"}", 17)},
        {"byte order mark twice", "\xef\xbb\xbf\xef\xbb\xbf{\"prompt\": \"a\"}"},
        {"UTF-8: lone continuation", "{\"prompt\": \"\x80\"}"},
        {"UTF-8: overlong", "{\"prompt\": \"\xc0\xaf\"}"},
        {"UTF-8: surrogate", "{\"prompt\": \"\xed\xa0\x80\"}"},
        {"UTF-8: above the last", "{\"prompt\": \"\xf4\x90\x80\x80\"}"},
        {"UTF-8: cut", "{\"prompt\": \"\xe2\x82\"}"},
        {"UTF-8: in a key", "{\"prompt\xff\": \"a\"}"},
        {"UTF-16", std::string("{\0\"\0p\0\"\0", 8)},
        {"nesting bomb", deep_arrays},
        {"nesting bomb of objects", R"({"prompt": )" + std::string(50'000, ' ') + deep_in_prompt + "}"},
        {"deep prompt", deep_in_prompt},
        {"many values", many},
        {"long key", "{\"" + std::string(100'000, 'k') + "\": 1, \"prompt\": \"a\"}"},
    };
    for (const auto& [name, body] : bodies) check_refused(name, with_body(body), 400);
}

TEST_CASE("a good body broken at any byte is refused or understood, never the end of the server") {
    const std::string good =
        R"({"prompt": ["a", [1, 2]], "max_tokens": 1, "stop": ["x"], "temperature": 0.5, "stream": false, "seed": 12})";
    std::mt19937 random(5);
    int refused = 0;
    for (int i = 0; i < 120; ++i) {
        std::string body = good;
        if (i < 60) {
            body.resize(random() % good.size());  // cut
        } else {
            body[random() % body.size()] = static_cast<char>(0x80 + random() % 0x80);  // no UTF-8
        }
        check_refused(fmt::format("broken body {}: {}", i, body), with_body(body), 400);
        ++refused;
    }
    CHECK(refused == 120);
}

TEST_CASE("heads that are no HTTP are refused") {
    const std::vector<std::pair<std::string, std::string>> heads = {
        {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)},
        {"binary", std::string("\0\1\2\3\4\5\6\7", 8)},
        {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {"no version", "GET /health\r\n\r\n"},
        {"no target", "GET HTTP/1.1\r\n\r\n"},
        {"four words", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"lower-case version", "GET /health http/1.1\r\nHost: a\r\n\r\n"},
        {"HTTP/1.2", "GET /health HTTP/1.2\r\nHost: a\r\n\r\n"},
        {"unknown method", "BREW /health HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"lower-case method", "get /health HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"bad method", "GE(T /health HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"long method", std::string(40, 'G') + " / HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"relative target", "GET health HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"two questions", "GET /health?a?b HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"NUL in the target", std::string("GET /\0health HTTP/1.1\r\nHost: a\r\n\r\n", 35)},
        {"tab in the target", "GET /\thealth HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"long target", "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"long header", "GET /health HTTP/1.1\r\nHost: a\r\nX: " + std::string(9000, 'a') + "\r\n\r\n"},
        {"long head", "GET /health HTTP/1.1\r\nHost: a\r\n" +
                          [] {
                              std::string lines;
                              for (int i = 0; i < 2000; ++i)
                                  lines += fmt::format("X-{}: {}\r\n", i, std::string(20, 'a'));
                              return lines;
                          }() +
                          "\r\n"},
        {"endless line", "GET /" + std::string(200'000, 'a')},
        {"no Host", "GET /health HTTP/1.1\r\n\r\n"},
        {"two Hosts", "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        {"header without a colon", "GET /health HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n"},
        {"header without a name", "GET /health HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"},
        {"space before the colon", "GET /health HTTP/1.1\r\nHost : a\r\n\r\n"},
        {"folded header", "GET /health HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"},
        {"NUL in a header", std::string("GET /health HTTP/1.1\r\nHost: a\0b\r\n\r\n", 35)},
        {"bare CR in a header", "GET /health HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"},
        {"bare LF in a header", "GET /health HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"},
        {"body of a GET", "GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"},
        {"head that does not end", "GET /health HTTP/1.1\r\nHost: a\r\n"},
        {"query without a path", "GET ?health HTTP/1.1\r\nHost: a\r\n\r\n"},
        {"another server", "GET http://a/health HTTP/1.1\r\nHost: a\r\n\r\n"},
    };
    for (const auto& [name, head] : heads)
        check_refused(name, head,
                      name.starts_with("HTTP/") ? (name == "HTTP/1.2" || name == "HTTP/2 preface" ? 505 : 0) : 0);
}

TEST_CASE("bodies that are not what their headers say are refused") {
    const std::vector<std::pair<std::string, std::string>> headers = {
        {"no length", ""},
        {"length of letters", "Content-Length: abc\r\n"},
        {"negative length", "Content-Length: -1\r\n"},
        {"length with a sign", "Content-Length: +5\r\n"},
        {"length with a fraction", "Content-Length: 5.0\r\n"},
        {"hexadecimal length", "Content-Length: 0x20\r\n"},
        {"length beyond 64 bits", "Content-Length: 99999999999999999999999\r\n"},
        {"length list", "Content-Length: 5, 5\r\n"},
        {"empty length", "Content-Length:\r\n"},
        {"two lengths", length_header() + "Content-Length: 1\r\n"},
        {"the same length twice", length_header() + length_header()},
        {"length above the limit", "Content-Length: 5000000\r\n"},
        {"length of 2^63", "Content-Length: 9223372036854775808\r\n"},
        {"length and chunks", length_header() + "Transfer-Encoding: chunked\r\n"},
        {"unknown encoding", "Transfer-Encoding: gzip\r\n"},
        {"two encodings", "Transfer-Encoding: gzip, chunked\r\n"},
        {"chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"},
        {"hidden chunked", "Transfer-Encoding: xchunked\r\n"},
        {"chunks that are none", "Transfer-Encoding: chunked\r\n"},
        {"unknown expectation", length_header() + "Expect: miracles\r\n"},
        {"compressed body", length_header() + "Content-Encoding: gzip\r\n"},
        {"brotli body", length_header() + "Content-Encoding: br\r\n"},
    };
    for (const auto& [name, header] : headers) check_refused(name, request_with(header));
    for (const char* type : {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                             "multipart/form-data", "application/jsonp", ""}) {
        check_refused(fmt::format("content type '{}'", type),
                      fmt::format("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: {}\r\n{}\r\n{}", type,
                                  length_header(), kGoodBody),
                      415);
    }
    const std::string chunked =
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: "
        "chunked\r\n\r\n";
    for (const char* chunks : {"zz\r\nab\r\n0\r\n\r\n", "-5\r\nab\r\n0\r\n\r\n", "2\r\nabc\r\n0\r\n\r\n",
                               "ffffffffffffffffffff\r\nab\r\n0\r\n\r\n", "\r\n\r\n\r\n", "1\r\n{\r\n0\r\nx\r\n\r\n",
                               "0x2\r\n{}\r\n0\r\n\r\n", "2{}\r\n0\r\n\r\n", "2\n{}\n0\n\n\r\n"})
        check_refused(fmt::format("chunks '{}'", chunks), chunked + chunks);
    std::string long_chunks;
    for (int i = 0; i < 90; ++i) long_chunks += "c350\r\n" + std::string(50'000, ' ') + "\r\n";
    check_refused("chunks above the limit", chunked + long_chunks + "0\r\n\r\n", 413);
    std::string tiny_chunks;
    for (int i = 0; i < 10'000; ++i) tiny_chunks += "1;" + std::string(1000, 'x') + "\r\n \r\n";
    check_refused("more framing than the limit", chunked + tiny_chunks + "0\r\n\r\n", 413);
    check_refused("endless chunk length", chunked + std::string(10'000'000, '1'));
}

TEST_CASE("unknown paths and methods are refused") {
    for (const char* path : {"/v1", "/v1/", "/v1/engines", "/v1/chat", "/v1/completions/", "//v1/completions", "/%00",
                             "/..%2f..%2fetc/passwd", "/../../etc/passwd", "/health/", "/V1/MODELS", "/a%zz", "*"}) {
        check_refused(path, fmt::format("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path), 404);
        check_refused(path, post_text(path, kGoodBody), 404);
    }
    for (const char* path : {"/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"})
        for (const char* method : {"GET", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
            check_refused(fmt::format("{} {}", method, path),
                          fmt::format("{} {} HTTP/1.1\r\nHost: a\r\n\r\n", method, path), 405);
    for (const char* path : {"/", "/health", "/metrics", "/v1/models"})
        for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
            check_refused(fmt::format("{} {}", method, path),
                          fmt::format("{} {} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", method, path), 405);
    check_refused("with a body", "PUT /health HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 405);
    CHECK(get(server().port(), "/tokenize").headers.at("allow") == "POST");
    CHECK(post_raw(server().port(), "/health", "{}").headers.at("allow") == "GET, HEAD");
}

TEST_CASE("random bytes in a good request are refused or understood") {
    const std::string good = post_text("/v1/completions", kGoodBody);
    std::mt19937 random(9);
    for (int i = 0; i < 100; ++i) {
        std::string bytes = good;
        // In the head, where no byte above 0x7f and no control character can be right.
        const std::size_t head = good.find("\r\n\r\n");
        bytes[random() % head] = static_cast<char>(random() % 0x20 == 0x0d ? 1 : random() % 9);
        check_refused(fmt::format("broken head {}", i), bytes);
    }
}

TEST_CASE("after all that the server serves") {
    CHECK(server().complete("a", {{"max_tokens", 2}}).status == 200);
    CHECK(server().await_metric("vigil_requests_running", 0));
}
