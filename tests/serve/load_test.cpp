// Many clients at once: none lost, the order kept, memory flat. $VIGIL_SERVE_REQUESTS: how many requests the last case
// makes (default 1500, instrumented 300).
#include <atomic>
#include <cstdlib>
#include <doctest/doctest.h>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tests/serve/server_fixture.h"

using namespace vigil::test;
using namespace std::chrono_literals;

namespace {

// Of this process, in MiB.
double resident_mib() {
    std::ifstream file("/proc/self/statm");
    double total = 0;
    double resident = 0;
    file >> total >> resident;
    return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

Json small(int seed) {
    return {{"max_tokens", 4}, {"seed", seed}, {"ignore_eos", true}};
}

std::string streamed_request() {
    Json body = long_answer();
    body["prompt"] = "in the end";
    body["stream"] = true;
    return post_text("/v1/completions", body.dump());
}

}  // namespace

TEST_CASE("64 clients at once are all answered, each with its own text") {
    TestServer server([](auto& options) { options.queue = 64; });
    std::map<int, std::string> expected;
    for (int seed = 0; seed < 8; ++seed) {
        const Json body = server.complete("in the end", small(seed)).json();
        expected[seed] = body["choices"][0]["text"];
    }
    std::atomic<int> right{0};
    {
        std::vector<std::jthread> clients;
        for (int i = 0; i < 64; ++i) {
            clients.emplace_back([&, i] {
                Json more = small(i % 8);
                more["stream"] = i % 2 == 1;
                const Reply reply = server.complete("in the end", more);
                std::string text;
                if (reply.status == 200 && i % 2 == 0) text = reply.json()["choices"][0]["text"];
                if (reply.status == 200 && i % 2 == 1)
                    for (const Json& event : events(reply)) text += event["choices"][0]["text"];
                if (text == expected[i % 8]) ++right;
            });
        }
    }
    CHECK(right == 64);
    CHECK(server.metric("vigil_requests_waiting") == 0);
}

TEST_CASE("requests are answered in the order in which they came") {
    TestServer server;
    std::vector<Socket> clients;
    for (int i = 0; i < 16; ++i) {
        clients.emplace_back(server.port());
        clients.back().send(streamed_request());
        if (i == 0)
            REQUIRE(clients.front().read_until("data: "));
        else
            REQUIRE(server.await_metric("vigil_requests_waiting", i));
    }
    // Nobody's answer ends before it is left, so each is begun by the one before it.
    for (std::size_t i = 0; i < clients.size(); ++i) {
        REQUIRE(clients[i].read_until("data: "));
        for (std::size_t later = i + 1; later < clients.size(); ++later) CHECK(clients[later].read_some(0ms).empty());
        clients[i].close();
    }
}

TEST_CASE("clients that reset their connections in the middle leave nothing behind") {
    TestServer server;
    for (int round = 0; round < 5; ++round) {
        std::vector<Socket> sockets;
        for (int i = 0; i < 12; ++i) {
            Json body = long_answer();
            body["prompt"] = "in the end";
            body["stream"] = i % 2 == 0;
            sockets.emplace_back(server.port());
            sockets.back().send(post_text("/v1/completions", body.dump()));
            // Threads take up connections in any order: the first has its turn before the others come.
            if (i == 0) REQUIRE(sockets.front().read_until("data: "));
        }
        for (Socket& socket : sockets) socket.reset();
        CHECK(server.await_metric("vigil_requests_running", 0));
    }
    CHECK(server.await_metric("vigil_connections", 1));
    CHECK(server.complete("a", small(1)).status == 200);
}

TEST_CASE("memory stays flat over many requests") {
    const char* wanted = std::getenv("VIGIL_SERVE_REQUESTS");
    const int n = wanted != nullptr ? std::atoi(wanted) : kInstrumented ? 300 : 1500;
    TestServer server;
    const auto some = [&](int count) {
        std::atomic<int> failed{0};
        std::vector<std::jthread> clients;
        for (int t = 0; t < 4; ++t) {
            clients.emplace_back([&, t] {
                for (int i = t; i < count; i += 4) {
                    Json more = small(i);
                    if (i % 3 == 1) more["stream"] = true;
                    if (i % 7 == 2) more["temperature"] = "wrong";
                    const Reply reply = i % 2 == 0 ? server.chat("hello", more) : server.complete("in the end", more);
                    if (reply.status != (i % 7 == 2 ? 400 : 200)) ++failed;
                }
            });
        }
        clients.clear();
        CHECK(failed == 0);
    };
    some(n / 3);
    const double warm = resident_mib();
    some(n - n / 3);
    const double after = resident_mib();
    MESSAGE(n << " requests, resident " << warm << " MiB after the first third, " << after << " MiB at the end");
    // (A sanitizer's own books grow.)
    if (!kInstrumented) CHECK(after < warm + 8);
}
