// Clients that are slow, greedy or gone: dropped in time, at the cost of nobody else.
#include <chrono>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <string>
#include <thread>
#include <vector>

#include "tests/serve/server_fixture.h"

using namespace vigil::test;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

std::string streaming_request() {
    Json body = long_answer();
    body["prompt"] = "in the end";
    body["stream"] = true;
    // Something to write for every token: with a random seed the model may fall into tokens that have no text.
    body["timings_per_token"] = true;
    return post_text("/v1/completions", body.dump());
}

}  // namespace

TEST_CASE("a head or a body that drips is cut off in time, and told so") {
    TestServer server([](auto& options) {
        options.limits.head = 300ms;
        options.limits.body = 300ms;
    });
    for (const std::string& begin :
         {std::string("GET /health HTTP/1.1\r\nX: "),
          std::string("POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                      "Content-Length: 1000000\r\n\r\n")}) {
        CAPTURE(begin);
        Socket socket(server.port());
        socket.send(begin);
        // Each byte is in time for a limit on single reads, and the last one hours away.
        const std::jthread drip([&](const std::stop_token& end) {
            while (!end.stop_requested() && socket.send("a")) std::this_thread::sleep_for(20ms);
        });
        const Reply reply = socket.read_reply();
        CHECK(reply.status == 408);
        CHECK_FALSE(reply.error_message().empty());
    }
}

TEST_CASE("empty lines without end are cut off in time") {
    TestServer server([](auto& options) { options.limits.head = 300ms; });
    Socket socket(server.port());
    const std::jthread drip([&](const std::stop_token& end) {
        while (!end.stop_requested() && socket.send("\r\n")) std::this_thread::sleep_for(20ms);
    });
    CHECK(socket.read_to_end().has_value());
}

TEST_CASE("an idle connection is closed without a word") {
    TestServer server([](auto& options) { options.limits.idle = 200ms; });
    constexpr auto kLess = 10s;  // than what is usual
    static_assert(kLess < vigil::serve::Limits{}.idle);
    Socket socket(server.port());
    CHECK(socket.read_to_end(kLess) == "");
    Socket second(server.port());
    second.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(second.read_reply().status == 200);
    CHECK(second.read_to_end(kLess) == "");
}

TEST_CASE("a reader that takes nothing is dropped, and holds up nobody meanwhile") {
    TestServer server([](auto& options) {
        options.limits.write = 500ms;
        options.limits.socket_buffer = 4096;
        options.limits.unsent_bytes = 1 << 20;
    });
    std::vector<Socket> deaf;
    for (int i = 0; i < 3; ++i) {
        deaf.emplace_back(server.port());
        deaf.back().shrink_receive_buffer();
        deaf.back().send(streaming_request());
    }
    CHECK(server.complete("a", {{"max_tokens", 3}}).status == 200);
    CHECK(server.await_metric("vigil_requests_running", 0));
    // One is the metric's own.
    CHECK(server.await_metric("vigil_connections", 1));
}

TEST_CASE("an answer that its reader leaves behind is cut off at a size") {
    TestServer server([](auto& options) {
        options.limits.socket_buffer = 4096;
        options.limits.unsent_bytes = 20'000;
    });
    Socket deaf(server.port());
    deaf.shrink_receive_buffer();
    deaf.send(streaming_request());
    CHECK(server.await_metric("vigil_clients_gone_total", 1));
    CHECK(server.metric("vigil_generated_tokens_total") < kLongAnswer / 2);
}

TEST_CASE("a body at the limit is taken, one above it is not, whatever the headers say") {
    TestServer server([](auto& options) { options.limits.body_bytes = 1000; });
    const auto body_of = [](std::size_t size) {
        std::string body = R"({"content": "a"})";
        return body.insert(1, std::string(size - body.size(), ' '));
    };
    CHECK(post_raw(server.port(), "/tokenize", body_of(1000)).status == 200);
    CHECK(post_raw(server.port(), "/tokenize", body_of(1001)).status == 413);
    Socket chunked(server.port());
    chunked.send(
        fmt::format("POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
                    body_of(1001)));
    CHECK(chunked.read_reply().status == 413);
}

TEST_CASE("connections above the limit are told so") {
    TestServer server([](auto& options) { options.limits.connections = 4; });
    std::vector<Socket> open;
    for (int i = 0; i < 4; ++i) {
        open.emplace_back(server.port());
        open.back().send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(open.back().read_reply().status == 200);
    }
    Socket fifth(server.port());
    const Reply reply = fifth.read_reply();
    CHECK(reply.status == 503);
    CHECK(reply.error_code() == "too_many_connections");
    open.clear();
    const auto give_up = Clock::now() + kPatience;
    // Once: the connection that was answered may still be open for the next.
    int status = 0;
    while ((status = server.get("/health").status) != 200 && Clock::now() < give_up) std::this_thread::sleep_for(10ms);
    CHECK(status == 200);
}

TEST_CASE("a generation that takes too long ends there") {
    TestServer server([](auto& options) { options.limits.request = 100ms; });
    const Reply reply = server.complete("a", long_answer());
    REQUIRE(reply.status == 200);
    CHECK(reply.json()["choices"][0]["finish_reason"] == "length");
    CHECK(reply.json()["usage"]["completion_tokens"] < kLongAnswer);
}

TEST_CASE("without the key nothing but the page and the health is given") {
    TestServer server([](auto& options) { options.api_key = "a secret"; });
    const std::string right = "Authorization: Bearer a secret\r\n";
    for (const char* wrong :
         {"", "Authorization: Bearer\r\n", "Authorization: Bearer \r\n", "Authorization: a secret\r\n",
          "Authorization: Bearer a secre\r\n", "Authorization: Bearer a secret1\r\n",
          "Authorization: Basic a secret\r\n", "Authorization: Bearer b secret\r\n"}) {
        CAPTURE(wrong);
        for (const char* path : {"/v1/models", "/metrics"}) CHECK(get(server.port(), path, wrong).status == 401);
        const Reply reply = post_raw(server.port(), "/v1/completions", R"({"prompt": "a"})", wrong);
        CHECK(reply.status == 401);
        CHECK(reply.error_code() == "invalid_api_key");
    }
    CHECK(get(server.port(), "/v1/models", right).status == 200);
    CHECK(post_raw(server.port(), "/v1/completions", R"({"prompt": "a", "max_tokens": 1})", right).status == 200);
    CHECK(server.get("/health").status == 200);
    CHECK(server.get("/").status == 200);
}
