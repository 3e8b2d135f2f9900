// Clients that are processes, killed with SIGKILL while they are answered or wait: the kernel is free within a token,
// and nothing of them stays.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <doctest/doctest.h>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/cli/child.h"
#include "tests/serve/server_fixture.h"

using namespace vigil::test;
using namespace std::chrono_literals;

namespace {

std::string long_request(bool stream) {
    Json body = long_answer();
    body["prompt"] = "in the end";
    body["stream"] = stream;
    return post_text("/v1/completions", body.dump());
}

class Client {
   public:
    Client(const TestServer& server, bool stream)
        : process_({std::to_string(server.port()), long_request(stream)}, "/dev/null", {}, VIGIL_CLIENT_PROCESS) {}

    bool await_answer() { return !process_.read(1).empty(); }
    // Returns when the system has closed what the process had open.
    void kill() {
        process_.send(SIGKILL);
        CHECK(process_.wait().signal == SIGKILL);
    }

   private:
    Child process_;
};

std::ptrdiff_t open_descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

bool await_descriptors(std::ptrdiff_t n) {
    using Clock = std::chrono::steady_clock;
    for (const auto give_up = Clock::now() + kPatience; Clock::now() < give_up; std::this_thread::sleep_for(10ms))
        if (open_descriptors() <= n) return true;
    return false;
}

}  // namespace

TEST_CASE("clients killed in the middle free the kernel within a token and leave no connection") {
    TestServer server;
    CHECK(server.complete("a", {{"max_tokens", 1}}).status == 200);
    REQUIRE(server.await_metric("vigil_connections", 1));
    const std::ptrdiff_t descriptors = open_descriptors();
    double gone = 0;
    for (const bool stream : {true, false}) {
        CAPTURE(stream);
        // A busy machine may hold up the thread that is to notice, but not each time.
        std::uint64_t least_after_death = kLongAnswer;
        for (int round = 0; round < 8; ++round) {
            Client answered(server, stream);
            if (stream) REQUIRE(answered.await_answer());
            REQUIRE(server.await_metric("vigil_requests_running", 1));
            Client waiting(server, !stream);
            REQUIRE(server.await_metric("vigil_requests_waiting", 1));
            waiting.kill();
            CHECK(server.await_metric("vigil_requests_waiting", 0));

            answered.kill();
            const std::uint64_t at_death = server.engine().statistics().tokens;
            CHECK(server.await_metric("vigil_requests_running", 0));
            gone += 2;
            CHECK(server.await_metric("vigil_clients_gone_total", gone));
            least_after_death = std::min(least_after_death, server.engine().statistics().tokens - at_death);
        }
        CHECK(least_after_death <= 1);
    }
    CHECK(server.complete("a", {{"max_tokens", 1}}).status == 200);
    CHECK(server.await_metric("vigil_connections", 1));
    CHECK(await_descriptors(descriptors));
}

TEST_CASE("a crowd of clients killed at once leaves a server that serves") {
    TestServer server;
    const std::ptrdiff_t descriptors = open_descriptors();
    {
        Client first(server, true);
        REQUIRE(first.await_answer());
        std::vector<std::unique_ptr<Client>> crowd;
        constexpr int kCrowd = 12;
        for (int i = 0; i < kCrowd; ++i) crowd.push_back(std::make_unique<Client>(server, i % 2 == 0));
        REQUIRE(server.await_metric("vigil_requests_waiting", kCrowd));
        for (const auto& client : crowd) client->kill();
        first.kill();
        CHECK(server.await_metric("vigil_clients_gone_total", kCrowd + 1));
    }
    CHECK(server.metric("vigil_requests_waiting") == 0);
    CHECK(server.complete("a", {{"max_tokens", 1}}).status == 200);
    CHECK(server.await_metric("vigil_connections", 1));
    CHECK(await_descriptors(descriptors));
}
