// Ending a generation early: at any token, in the queue, by dropping it, by dropping the engine.
#include <chrono>
#include <doctest/doctest.h>
#include <optional>
#include <thread>

#include "tests/patience.h"
#include "tests/runtime/engine_fixture.h"

using namespace vigil;
using namespace vigil::test;

TEST_CASE("a generation can be cancelled at every token") {
    Engine engine = make_engine();
    const std::vector<Token> all = run(engine, greedy(prompt(6), 40)).tokens;
    REQUIRE(all.size() == 40);
    for (std::size_t at = 0; at <= all.size(); ++at) {
        Generation generation = engine.submit(greedy(prompt(6), 40));
        std::vector<Token> got;
        while (got.size() < at) got.push_back(generation.next()->id);
        generation.cancel();
        while (auto token = generation.next()) got.push_back(token->id);
        const bool is_end = generation.reason() == FinishReason::kCancelled ||
                            (generation.reason() == FinishReason::kLength && got.size() == all.size());
        CHECK(is_end);
        CHECK(got == std::vector<Token>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(got.size())));
    }
    CHECK(run(engine, greedy(prompt(6), 40)).tokens == all);
}

TEST_CASE("a generation can be cancelled while the kernel is parked") {
    Engine engine = make_engine();
    const std::vector<Token> expected = run(engine, greedy(prompt(4), 5)).tokens;
    Generation generation = engine.submit(greedy(prompt(6), 240));
    REQUIRE(generation.next().has_value());
    engine.park();
    generation.cancel();
    CHECK(collect(generation).reason == FinishReason::kCancelled);
    CHECK(run(engine, greedy(prompt(4), 5)).tokens == expected);
}

TEST_CASE("cancelling under graph and launch dispatch ends the job too") {
    for (const Dispatch dispatch : {Dispatch::graph, Dispatch::launch}) {
        EngineOptions with = options();
        with.dispatch = dispatch;
        Engine engine = make_engine(with);
        Generation generation = engine.submit(greedy(prompt(6), 240));
        REQUIRE(generation.next().has_value());
        generation.cancel();
        const Outcome got = collect(generation);
        CHECK(got.reason == FinishReason::kCancelled);
        CHECK(got.tokens.size() < 239);
        CHECK(run(engine, greedy(prompt(6), 5)).tokens.size() == 5);
    }
}

TEST_CASE("a request that still waits is cancelled at once, and those around it go on") {
    Engine engine = make_engine();
    Generation first = engine.submit(greedy(prompt(6), 200));
    Generation second = engine.submit(greedy(prompt(40), 200));
    Generation third = engine.submit(greedy(prompt(7), 5));
    second.cancel();
    const Outcome cancelled = collect(second);
    CHECK(cancelled.reason == FinishReason::kCancelled);
    CHECK(cancelled.tokens.empty());
    CHECK(cancelled.statistics.prompt_tokens == 40);
    CHECK(collect(first).tokens.size() == 200);
    CHECK(collect(third).tokens.size() == 5);
}

TEST_CASE("a cancel that comes late does no harm to the jobs after") {
    Engine engine = make_engine();
    std::vector<Generation> old;
    for (int i = 0; i < 20; ++i) {
        old.push_back(engine.submit(greedy(prompt(3, i), 3)));
        CHECK(collect(old.back()).tokens.size() == 3);
        for (Generation& generation : old) generation.cancel();
    }
}

TEST_CASE("dropping a generation cancels it") {
    Engine engine = make_engine();
    { Generation dropped = engine.submit(greedy(prompt(6), 240)); }
    const std::uint64_t tokens = engine.statistics().tokens;
    CHECK(run(engine, greedy(prompt(6), 5)).tokens.size() == 5);
    CHECK(engine.statistics().tokens < tokens + 240);
    Generation replaced = engine.submit(greedy(prompt(6), 240));
    replaced = engine.submit(greedy(prompt(6), 4));
    CHECK(collect(replaced).tokens.size() == 4);
}

TEST_CASE("an engine that is dropped while it works ends its generations, soon") {
    for (const Dispatch dispatch : {Dispatch::persistent, Dispatch::launch}) {
        for (const int n_prompt : {6, 60}) {
            EngineOptions with = options();
            with.dispatch = dispatch;
            std::optional<Engine> engine(make_engine(with));
            Generation running = engine->submit(greedy(prompt(n_prompt), 180));
            Generation waiting = engine->submit(greedy(prompt(60), 180));
            if (n_prompt == 6) running.next();
            const auto begin = std::chrono::steady_clock::now();
            engine.reset();
            CHECK(std::chrono::steady_clock::now() - begin < kSlowdown * std::chrono::seconds(10));
            const bool ended = collect(running).reason != FinishReason::kNone;
            CHECK(ended);
            CHECK(collect(waiting).reason == FinishReason::kCancelled);
            running.cancel();  // nobody is there any more
        }
    }
}

TEST_CASE("cancels from other threads race with tokens and ends") {
    Engine engine = make_engine();
    for (int i = 0; i < 30; ++i) {
        Generation generation = engine.submit(greedy(prompt(4, i), 12));
        std::thread canceller([&] {
            std::this_thread::sleep_for(std::chrono::microseconds(200 * i));
            generation.cancel();
        });
        const Outcome got = collect(generation);
        canceller.join();
        CHECK(got.tokens.size() <= 12);
        CHECK(got.error == "");
    }
    CHECK(run(engine, greedy(prompt(4), 12)).tokens.size() == 12);
}
