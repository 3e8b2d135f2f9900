// The small parts of the server by themselves.
#include <doctest/doctest.h>
#include <string>

#include "runtime/serve/api_error.h"
#include "runtime/serve/cancellation.h"
#include "runtime/serve/json_fields.h"
#include "runtime/serve/metrics.h"
#include "runtime/serve/request_head.h"

using namespace vigil::serve;

TEST_CASE("an error has all members of OpenAI's") {
    CHECK(invalid_request("it's \"wrong\"", "n").json() ==
          R"({"error":{"message":"it's \"wrong\"","type":"invalid_request_error","param":"n","code":null}})");
    // Bytes of the client's may be in it.
    CHECK(invalid_request("\xff").json().find("\xef\xbf\xbd") != std::string::npos);
}

TEST_CASE("a head says whether a body follows and whether the connection ends") {
    const Limits limits;
    const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n";
    CHECK_FALSE(read_head(get + "\r\n", limits).has_body);
    CHECK_FALSE(read_head(get + "\r\n", limits).asks_to_close);
    CHECK(read_head(get + "Connection: Close\r\n\r\n", limits).asks_to_close);
    CHECK(read_head("GET / HTTP/1.0\r\n\r\n", limits).asks_to_close);
    CHECK_FALSE(read_head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", limits).asks_to_close);
    const std::string post = "POST / HTTP/1.1\r\nHost: a\r\n";
    CHECK(read_head(post + "Content-Length: 5\r\n\r\n", limits).has_body);
    CHECK_FALSE(read_head(post + "Content-Length: 0\r\n\r\n", limits).has_body);
    CHECK(read_head(post + "Transfer-Encoding: Chunked\r\n\r\n", limits).has_body);
}

TEST_CASE("a head names a path, without its query and its escapes, and the headers that are asked for") {
    const Limits limits;
    const auto path = [&](const std::string& target) {
        return read_head("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n", limits).path;
    };
    CHECK(path("/health?a=b/c") == "/health");
    CHECK(path("/%68ea%6Cth?%41") == "/health");
    CHECK(path("/a%2fb%00+%zz%4") == std::string("/a/b\0+%zz%4", 11));
    const std::string bytes =
        "POST / HTTP/1.1\r\nHOST: a\r\ncontent-type:\tapplication/json \r\nAUTHORIZATION: Bearer x\r\n"
        "Content-Encoding: gzip\r\nExpect: 100-Continue\r\nContent-Length: 7\r\n\r\n";
    const RequestHead head = read_head(bytes, limits);
    CHECK(head.method == "POST");
    CHECK(head.content_type == "application/json");
    CHECK(head.authorization == "Bearer x");
    CHECK(head.content_encoding == "gzip");
    CHECK(head.awaits_continue);
    CHECK(head.content_length == 7);
}

TEST_CASE("what cannot begin a request is known from its first bytes") {
    CHECK(may_begin_request(""));
    CHECK(may_begin_request("GE"));
    CHECK(may_begin_request("POST /v1"));
    CHECK_FALSE(may_begin_request("\x16\x03\x01"));
    CHECK_FALSE(may_begin_request("{\"prompt\""));
    CHECK_FALSE(may_begin_request(std::string(17, 'A')));
}

TEST_CASE("nesting and the number of values are limited, at the limit not") {
    Limits limits;
    limits.json_depth = 4;
    limits.json_values = 50;
    CHECK(parse_object(R"({"a": [[[1]]]})", limits).is_object());
    CHECK_THROWS_AS(parse_object(R"({"a": [[[[[1]]]]]})", limits), ApiError);
    std::string list = R"({"a": [1)";
    for (int i = 0; i < 30; ++i) list += ",1";
    CHECK(parse_object(list + "]}", limits)["a"].size() == 31);
    for (int i = 0; i < 100; ++i) list += ",1";
    CHECK_THROWS_AS(parse_object(list + "]}", limits), ApiError);
}

TEST_CASE("a cancellation keeps its first reason and acts once, at once if it came before") {
    Cancellation cancellation;
    int acted = 0;
    {
        const Cancellation::Scope scope(cancellation, [&] { ++acted; });
        CHECK(acted == 0);
        cancellation.request(Cancellation::Why::client_gone);
        cancellation.request(Cancellation::Why::time_limit);
        CHECK(acted == 1);
    }
    CHECK(cancellation.why() == Cancellation::Why::client_gone);
    const Cancellation::Scope late(cancellation, [&] { ++acted; });
    CHECK(acted == 2);
}

TEST_CASE("a histogram counts up to each bound") {
    static constexpr double bounds[] = {1, 2};
    Histogram histogram(bounds);
    for (const double value : {0.5, 1.0, 1.5, 9.0}) histogram.add(value);
    CHECK(histogram.lines("h") ==
          "h_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 12\nh_count 4\n");
}
