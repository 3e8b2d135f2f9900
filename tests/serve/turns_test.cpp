// Who waits for whom: order, the bound, and clients that go while they wait or are answered.
#include "runtime/serve/turns.h"

#include <atomic>
#include <chrono>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/serve/server_fixture.h"

using namespace vigil::test;
using namespace std::chrono_literals;
using vigil::serve::Cancellation;
using vigil::serve::QueueFull;
using vigil::serve::Turns;

namespace {

using Clock = std::chrono::steady_clock;

std::string request(const Json& more) {
    Json body = {{"prompt", "in the end"}};
    body.update(more);
    return post_text("/v1/completions", body.dump());
}

Json streamed(Json more) {
    more["stream"] = true;
    return more;
}

}  // namespace

TEST_CASE("turns are taken in the order of asking") {
    Turns turns(8);
    Cancellation none;
    const auto never = Clock::now() + 1h;
    auto first = turns.wait(none, never);
    REQUIRE(first);
    std::mutex mutex;
    std::vector<int> order;
    std::vector<std::jthread> others;
    for (int i = 0; i < 8; ++i) {
        others.emplace_back([&, i] {
            Cancellation mine;
            const auto turn = turns.wait(mine, never);
            const std::lock_guard lock(mutex);
            order.push_back(i);
        });
        while (turns.waiting() != static_cast<std::size_t>(i) + 1) std::this_thread::yield();
    }
    CHECK_THROWS_AS(turns.wait(none, never), QueueFull);
    // What was let in before is not turned away.
    CHECK_FALSE(turns.wait(none, Clock::now() + 1ms, Turns::Queue::keep_place).has_value());
    first.reset();
    others.clear();
    CHECK(order == std::vector{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK_FALSE(turns.busy());
}

TEST_CASE("a turn is taken at once only if it is free and nobody waits") {
    Turns turns(8);
    Cancellation none;
    auto first = turns.take_if_free();
    REQUIRE(first);
    CHECK(turns.busy());
    CHECK_FALSE(turns.take_if_free());
    std::atomic<bool> may_go{false};
    std::jthread other([&] {
        const auto turn = turns.wait(none, Clock::now() + 1h);
        while (!may_go) std::this_thread::yield();
    });
    while (turns.waiting() != 1) std::this_thread::yield();
    first.reset();
    CHECK_FALSE(turns.take_if_free());  // who waited has it now
    may_go = true;
    other.join();
    CHECK(turns.take_if_free());
}

TEST_CASE("who stops waiting leaves no gap") {
    Turns turns(8);
    Cancellation none;
    const auto never = Clock::now() + 1h;
    for (int round = 0; round < 200; ++round) {
        auto first = turns.wait(none, never);
        Cancellation leaving;
        std::atomic<int> served{0};
        std::jthread impatient([&] { served += turns.wait(leaving, never).has_value() ? 1 : 0; });
        std::jthread patient([&] {
            Cancellation mine;
            served += turns.wait(mine, never).has_value() ? 1 : 0;
        });
        std::jthread leaves([&] { leaving.request(Cancellation::Why::client_gone); });
        if (round % 2 == 0) std::this_thread::yield();
        first.reset();
        impatient.join();
        patient.join();
        leaves.join();
        CHECK(served >= 1);
        CHECK_FALSE(turns.busy());
        CHECK(turns.waiting() == 0);
    }
}

TEST_CASE("past its bound the queue answers 429 and when to come back") {
    TestServer server([](auto& options) { options.queue = 2; });
    Socket running(server.port());
    running.send(request(streamed(long_answer())));
    REQUIRE(running.read_until("data: "));
    std::vector<Socket> waiting;
    for (int i = 0; i < 2; ++i) {
        waiting.emplace_back(server.port());
        waiting.back().send(request({{"max_tokens", 2}}));
    }
    REQUIRE(server.await_metric("vigil_requests_waiting", 2));
    for (const bool stream : {false, true}) {
        const Reply reply = server.complete("a", {{"stream", stream}});
        CHECK(reply.status == 429);
        CHECK(reply.error_code() == "queue_full");
        const int seconds = std::stoi(reply.headers.at("retry-after"));
        CHECK(seconds >= 1);
        CHECK(seconds <= 60);
    }
    running.close();
    for (Socket& socket : waiting) CHECK(socket.read_reply().status == 200);
    CHECK(server.complete("a", {{"max_tokens", 2}}).status == 200);
}

TEST_CASE("a client that goes frees the kernel: streamed, not streamed, waiting, killed") {
    TestServer server;
    const double before = server.metric("vigil_generated_tokens_total");
    double gone = 0;
    for (const bool stream : {true, false}) {
        for (const bool killed : {false, true}) {
            CAPTURE(stream);
            CAPTURE(killed);
            Socket running(server.port());
            running.send(request(stream ? streamed(long_answer()) : long_answer()));
            REQUIRE(server.await_metric("vigil_requests_running", 1));
            Socket waiting(server.port());
            waiting.send(request(long_answer()));
            REQUIRE(server.await_metric("vigil_requests_waiting", 1));
            killed ? waiting.reset() : waiting.close();
            CHECK(server.await_metric("vigil_requests_waiting", 0));
            killed ? running.reset() : running.close();
            CHECK(server.await_metric("vigil_requests_running", 0));
            gone += 2;
            CHECK(server.await_metric("vigil_clients_gone_total", gone));
        }
    }
    CHECK(server.complete("a", {{"max_tokens", 2}}).status == 200);
    // Eight long answers were asked for, of which four began.
    CHECK(server.metric("vigil_generated_tokens_total") - before < kLongAnswer);
}

TEST_CASE("a request of many prompts lets others have their turn in between") {
    TestServer server;
    const Json prompts = Json::array({"one", "two", "three", "four", "five", "six"});
    constexpr int kTokens = kInstrumented ? 300 : 600;  // so many that the small request comes before the last prompt
    Socket greedy(server.port());
    greedy.send(
        post_text("/v1/completions",
                  Json{{"prompt", prompts}, {"max_tokens", kTokens}, {"ignore_eos", true}, {"stream", true}}.dump()));
    REQUIRE(greedy.read_until("\"index\":0"));
    CHECK(server.complete("a", {{"max_tokens", 1}}).status == 200);
    // The small request came second and was not last.
    greedy.read_some(1ms);
    CHECK(greedy.seen().find("\"index\":5") == std::string::npos);
    CHECK(greedy.read_until("[DONE]"));
}
