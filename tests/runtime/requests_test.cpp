// What requests give: order, ends, and the same tokens whichever way the engine takes.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <mutex>
#include <thread>

#include "tests/runtime/engine_fixture.h"

using namespace vigil;
using namespace vigil::test;

TEST_CASE("each of several client threads gets its own tokens") {
    Engine engine = make_engine();
    constexpr int kClients = 4;
    constexpr int kRequests = 6;
    std::vector<std::vector<Token>> expected;
    for (int c = 0; c < kClients; ++c) expected.push_back(run(engine, greedy(prompt(3 + c, c), 12)).tokens);
    REQUIRE(expected[0] != expected[1]);

    std::vector<int> wrong(kClients, 0);
    std::vector<std::thread> clients;
    for (int c = 0; c < kClients; ++c)
        clients.emplace_back([&, c] {
            for (int i = 0; i < kRequests; ++i) {
                const Outcome got = run(engine, greedy(prompt(3 + c, c), 12));
                if (got.tokens != expected[static_cast<std::size_t>(c)] || got.reason != FinishReason::kLength)
                    ++wrong[static_cast<std::size_t>(c)];
            }
        });
    for (std::thread& client : clients) client.join();
    CHECK(wrong == std::vector<int>(kClients, 0));
    CHECK(engine.statistics().requests == kClients * (kRequests + 1));
}

TEST_CASE("jobs run in the order of submission, prefilled or not, more of them than the ring holds") {
    Engine engine = make_engine();
    std::vector<Generation> generations;
    for (int i = 0; i < 24; ++i) generations.push_back(engine.submit(greedy(prompt(i % 3 == 0 ? 20 : 4, i), 3)));
    std::uint64_t before = 0;
    for (Generation& generation : generations) {
        const Outcome got = collect(generation);
        REQUIRE(got.error == "");
        REQUIRE(got.tokens.size() == 3);
        CHECK(got.times_ns.front() >= before);
        CHECK(std::is_sorted(got.times_ns.begin(), got.times_ns.end()));
        before = got.times_ns.back();
    }
    CHECK(engine.statistics().prefills == 8);
}

// Some find the kernel without a job and go straight into the ring, others must queue; some are prefilled.
TEST_CASE("each client's requests run in its order, whichever way they go into the ring") {
    Engine engine = make_engine();
    constexpr int kClients = 3;
    constexpr int kRounds = 8;
    std::vector<int> wrong(kClients, 0);
    std::vector<std::thread> clients;
    for (int c = 0; c < kClients; ++c)
        clients.emplace_back([&, c] {
            for (int i = 0; i < kRounds; ++i) {
                std::vector<Generation> generations;
                for (int n = 0; n <= i % 3; ++n)
                    generations.push_back(engine.submit(greedy(prompt((c + i + n) % 4 == 0 ? 20 : 4, 10 * c + n), 3)));
                std::uint64_t before = 0;
                for (Generation& generation : generations) {
                    const Outcome got = collect(generation);
                    const bool good =
                        got.reason == FinishReason::kLength && got.tokens.size() == 3 && got.times_ns.front() > before;
                    if (!good) ++wrong[static_cast<std::size_t>(c)];
                    if (!got.times_ns.empty()) before = got.times_ns.back();
                }
            }
        });
    for (std::thread& client : clients) client.join();
    CHECK(wrong == std::vector<int>(kClients, 0));
    CHECK(engine.statistics().waiting == 0);
}

TEST_CASE("the three kinds of dispatch give the same tokens") {
    std::vector<Outcome> outcomes;
    for (const Dispatch dispatch : {Dispatch::persistent, Dispatch::graph, Dispatch::launch}) {
        EngineOptions with = options();
        with.dispatch = dispatch;
        Engine engine = make_engine(with);
        CHECK(engine.dispatch() == dispatch);
        Request request = greedy(prompt(30), 20);
        request.sampling.temperature = 1.0f;
        request.sampling.seed = 7;
        run(engine, greedy(prompt(4), 2));
        outcomes.push_back(run(engine, request));
        CHECK(engine.statistics().launches == (dispatch == Dispatch::persistent ? 2 : 0));
    }
    CHECK(outcomes[0].tokens.size() == 20);
    for (const Outcome& other : outcomes) {
        CHECK(other.tokens == outcomes[0].tokens);
        CHECK(other.logprobs == outcomes[0].logprobs);
        CHECK(other.text == outcomes[0].text);
    }
}

TEST_CASE("the same seed gives the same text, another seed another") {
    Engine engine = make_engine();
    Request request = greedy(prompt(5), 24);
    request.sampling.temperature = 1.5f;
    request.sampling.seed = 42;
    const Outcome first = run(engine, request);
    CHECK(run(engine, request).text == first.text);
    request.sampling.seed = 43;
    CHECK(run(engine, request).tokens != first.tokens);
}

TEST_CASE("a prefilled prompt is continued as one fed inside the kernel") {
    EngineOptions inside = options();
    inside.in_kernel_prompt = 256;
    const std::vector<int> lengths = {10, 11, 100, 200};
    std::vector<Outcome> fed;
    {
        Engine engine = make_engine(inside);
        for (const int n : lengths) fed.push_back(run(engine, greedy_anew(prompt(n), 10)));
        CHECK(engine.statistics().prefills == 0);
    }
    Engine engine = make_engine();
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        const Outcome prefilled = run(engine, greedy_anew(prompt(lengths[i]), 10));
        REQUIRE(prefilled.tokens == fed[i].tokens);
        for (std::size_t t = 0; t < prefilled.tokens.size(); ++t)
            CHECK(prefilled.logprobs[t] == doctest::Approx(fed[i].logprobs[t]).epsilon(0.01));
    }
    CHECK(engine.statistics().prefills == lengths.size());
}

TEST_CASE("no new tokens are wanted: the generation ends at once") {
    Engine engine = make_engine();
    for (const int n : {1, 50}) {
        const Outcome got = run(engine, greedy(prompt(n), 0));
        CHECK(got.tokens.empty());
        CHECK(got.reason == FinishReason::kLength);
        CHECK(got.statistics.prompt_tokens == n);
    }
}

TEST_CASE("a generation ends where the context does") {
    Engine engine = make_engine();
    Outcome got = run(engine, greedy(prompt(250), 100));
    CHECK(got.tokens.size() == 7);  // after positions 249 to 255
    CHECK(got.reason == FinishReason::kLength);
    got = run(engine, greedy(prompt(256), 100));
    CHECK(got.tokens.size() == 1);
}

TEST_CASE("a model's own end of text ends a generation unless it is ignored") {
    Engine engine = make_engine();
    const auto stops = engine.tokenizer().end_of_generation();
    REQUIRE(!stops.empty());
    // Sampling from all tokens alike meets one soon.
    Request request = greedy(prompt(2), 250);
    request.sampling = {.temperature = 50.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f};
    int stopped = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        request.sampling.seed = seed;
        request.ignore_eos = false;
        const Outcome got = run(engine, request);
        if (got.reason != FinishReason::kStopToken) continue;
        ++stopped;
        CHECK(!got.by_text);
        CHECK(std::find(stops.begin(), stops.end(), got.tokens.back()) != stops.end());
        if (stopped > 1) continue;
        request.ignore_eos = true;
        CHECK(run(engine, request).tokens.size() == 250);
    }
    CHECK(stopped > 0);
}

TEST_CASE("scoring gives the log-probability of every prompt token, and logits where asked") {
    EngineOptions with = options();
    with.logits_rows = 64;
    Engine engine = make_engine(with);
    Request request = greedy(prompt(40), 0);
    request.score = true;
    request.emit_logits = true;
    const Outcome got = run(engine, request);
    REQUIRE(got.tokens.size() == 39);
    CHECK(got.reason == FinishReason::kLength);
    CHECK(got.statistics.generated_tokens == 0);
    for (int p = 0; p + 1 < 40; ++p) {
        const auto row = engine.logits_row(p);
        double sum = 0.0;
        for (const float logit : row) sum += std::exp(static_cast<double>(logit));
        const Token next = request.prompt[static_cast<std::size_t>(p) + 1];
        CHECK(got.tokens[static_cast<std::size_t>(p)] == next);
        const double expected = static_cast<double>(row[static_cast<std::size_t>(next)]) - std::log(sum);
        CHECK(static_cast<double>(got.logprobs[static_cast<std::size_t>(p)]) ==
              doctest::Approx(expected).epsilon(1e-3));
    }
    CHECK_THROWS_AS(engine.logits_row(64), std::invalid_argument);
}

TEST_CASE("statistics say what a request took") {
    Engine engine = make_engine();
    const Outcome got = run(engine, greedy(prompt(20), 10));
    CHECK(got.statistics.prompt_tokens == 20);
    CHECK(got.statistics.generated_tokens == 10);
    CHECK(got.statistics.token_ms.size() == 9);
    CHECK(*std::min_element(got.statistics.token_ms.begin(), got.statistics.token_ms.end()) > 0.0);
    CHECK(got.statistics.prefill_ms > 0.0);
    CHECK(got.statistics.prefill_ms <= got.statistics.time_to_first_token_ms);
    CHECK(got.statistics.time_to_first_token_ms <= got.statistics.total_ms);
    CHECK(got.statistics.tokens_per_second() > 0.0);
    CHECK(engine.statistics().tokens == 10);
}
