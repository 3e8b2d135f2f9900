// Several conversations in the KV cache: what is reused, that it is counted, and that it changes no token.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <doctest/doctest.h>
#include <random>

#include "tests/patience.h"
#include "tests/reference/test_device.h"
#include "tests/runtime/engine_fixture.h"

using namespace vigil;
using namespace vigil::test;

namespace {

using Tokens = std::vector<Token>;

constexpr int kInterleavings = kInstrumented ? 100 : 1000;

EngineOptions conversations(int parallel, int positions_each) {
    EngineOptions with = options();
    with.parallel = parallel;
    with.ctx_size = parallel * positions_each;
    with.idle_park = std::chrono::seconds(60);  // a kernel that parks by itself would confuse the counts
    return with;
}

// Of two engines on one GPU the second waits until the first leaves it.
EngineOptions sharing_the_device(EngineOptions with) {
    if (reference::on_cuda()) with.idle_park = std::chrono::milliseconds(1);
    return with;
}

void append(Tokens& to, const Tokens& more) {
    to.insert(to.end(), more.begin(), more.end());
}

Request without_reuse(Request request) {
    request.reuse_prefix = false;
    return request;
}

void check_counts(const RequestStatistics& s, int reused, int prefilled, int fed) {
    CHECK(s.reused_tokens == reused);
    CHECK(s.prefilled_tokens == prefilled);
    CHECK(s.fed_tokens == fed);
    CHECK(s.prompt_tokens == reused + prefilled + fed);
}

// `got` are the tokens of `want`, or part from them where the model can hardly tell the two likeliest apart: a prompt
// fed token by token and one prefilled give slightly different keys and values. `want` with top_logprobs 2.
void check_same_but_for_near_ties(const std::vector<TokenResult>& got, const std::vector<TokenResult>& want,
                                  int* ties) {
    const float near_tie = reference::on_cuda() ? 0.1f : 0.02f;  // GPUs prefill with inputs of 16 bits
    for (std::size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
        if (got[i].id == want[i].id) continue;
        ++*ties;
        REQUIRE(want[i].alternatives.size() == 2);
        CHECK(want[i].alternatives[0].logprob - want[i].alternatives[1].logprob < near_tie);
        return;
    }
    CHECK(got.size() == want.size());
}

std::vector<TokenResult> results(Engine& engine, const Request& request, RequestStatistics* statistics = nullptr) {
    Generation generation = engine.submit(request);
    std::vector<TokenResult> all;
    while (auto token = generation.next()) all.push_back(*token);
    REQUIRE(generation.error() == "");
    if (statistics != nullptr) *statistics = generation.statistics();
    return all;
}

// A conversation that grows by a message and an answer at a time.
struct Conversation {
    Tokens tokens;
    int turns = 0;
};

// A random request of a random conversation: mostly its next turn, at times its last answer anew, at times a fresh
// start. `positions` is what one conversation may have.
Request next_request(std::mt19937& random, Conversation& c, int positions) {
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    if (c.turns == 0 || below(12) == 0 || static_cast<int>(c.tokens.size()) > positions - 24)
        c.tokens = prompt(2 + below(20), below(1000));
    else if (below(6) == 0)
        c.tokens.resize(c.tokens.size() - std::min<std::size_t>(c.tokens.size() - 1, 1 + random() % 8));
    else
        append(c.tokens, prompt(1 + below(9), below(1000)));
    ++c.turns;
    Request request = greedy(c.tokens, 1 + below(7));
    if (below(2) == 0) {
        request.sampling.temperature = 1.0f;
        request.sampling.seed = random();
    }
    return request;
}

}  // namespace

TEST_CASE("the second turn of a conversation of 1,000 tokens prefills only what is new") {
    Engine engine = make_engine(sharing_the_device(conversations(2, 1200)));
    const Outcome first = run(engine, greedy(prompt(960), 40));
    check_counts(first.statistics, 0, 959, 1);
    Tokens second = prompt(960);
    append(second, first.tokens);
    append(second, prompt(20, 77));
    Request request = greedy(second, 30);
    request.top_logprobs = 2;
    RequestStatistics statistics;
    const auto reused = results(engine, request, &statistics);
    check_counts(statistics, 999, 20, 1);  // the last generated token was never fed
    Engine fresh = make_engine(sharing_the_device(conversations(1, 1200)));
    const auto whole = results(fresh, request, &statistics);
    check_counts(statistics, 0, 1019, 1);
    int ties = 0;
    check_same_but_for_near_ties(reused, whole, &ties);
    if (!reference::on_cuda()) CHECK(ties == 0);
}

TEST_CASE("a short new piece runs inside the kernel without parking it") {
    Engine engine = make_engine(conversations(1, 256));
    Tokens tokens = prompt(100);
    append(tokens, run(engine, greedy(tokens, 10)).tokens);
    append(tokens, prompt(4, 9));
    const EngineStatistics before = engine.statistics();
    const Outcome second = run(engine, greedy(tokens, 10));
    check_counts(second.statistics, 109, 0, 5);
    CHECK(engine.statistics().prefills == before.prefills);
    CHECK(engine.statistics().launches == before.launches);
}

TEST_CASE("interleaved requests give the tokens that they give without reuse, to the bit") {
    // Fed one by one inside the kernel, every token meets the same keys and values on both ways.
    constexpr int kPositions = 96;
    EngineOptions with = sharing_the_device(conversations(3, kPositions));
    with.in_kernel_prompt = kPositions;
    Engine engine = make_engine(with);
    Engine plain = make_engine(with);
    std::mt19937 random(2026);
    std::vector<Conversation> conversations(5);  // more than slots: they drive each other out
    int with_reuse = 0;
    int evicted = 0;
    for (int i = 0; i < kInterleavings; ++i) {
        Conversation& c = conversations[random() % conversations.size()];
        const Request request = next_request(random, c, kPositions);
        const Outcome got = run(engine, request);
        const Outcome want = run(plain, without_reuse(request));
        CAPTURE(i);
        REQUIRE(got.error == "");
        REQUIRE(got.tokens == want.tokens);
        REQUIRE(got.logprobs == want.logprobs);
        CHECK(want.statistics.reused_tokens == 0);
        if (got.statistics.reused_tokens > 0)
            ++with_reuse;
        else if (c.turns > 1)
            ++evicted;
        append(c.tokens, got.tokens);
    }
    CHECK(with_reuse > kInterleavings * 3 / 10);
    CHECK(evicted > kInterleavings / 20);
}

TEST_CASE("interleaved requests, prefilled and reused, agree with those that are prefilled whole") {
    constexpr int kPositions = 128;
    EngineOptions with = sharing_the_device(conversations(2, kPositions));
    with.in_kernel_prompt = 3;
    Engine engine = make_engine(with);
    Engine plain = make_engine(with);
    std::mt19937 random(7);
    std::vector<Conversation> conversations(3);
    int ties = 0;
    for (int i = 0; i < 150; ++i) {
        Conversation& c = conversations[random() % conversations.size()];
        Request request = next_request(random, c, kPositions);
        request.sampling.temperature = 0.0f;
        request.top_logprobs = 2;
        CAPTURE(i);
        const auto got = results(engine, request);
        check_same_but_for_near_ties(got, results(plain, without_reuse(request)), &ties);
        for (const TokenResult& token : got) c.tokens.push_back(token.id);
    }
    CHECK(ties < (reference::on_cuda() ? 30 : 5));
    CHECK(engine.statistics().prefills < plain.statistics().prefills);
}

TEST_CASE("conversations do not see each other's keys and values") {
    Engine alone = make_engine(sharing_the_device(conversations(1, 64)));
    Engine shared = make_engine(sharing_the_device(conversations(4, 64)));
    for (int i = 0; i < 12; ++i) {
        const Request request = without_reuse(greedy(prompt(30, i), 33));  // to the last position of the slot, and over
        const Outcome want = run(alone, request);
        const Outcome got = run(shared, request);
        CHECK(got.tokens == want.tokens);
        CHECK(got.logprobs == want.logprobs);
    }
}

TEST_CASE("a conversation may fill its share of the cache and no more") {
    Engine engine = make_engine(conversations(4, 64));
    CHECK(engine.context_size() == 64);
    CHECK(engine.config().max_seq_len == 256);
    CHECK_THROWS_WITH_AS(engine.submit(greedy(prompt(65), 1)), "prompt has 65 tokens, but the context holds 64",
                         std::invalid_argument);
    const Outcome got = run(engine, greedy(prompt(60), 100));
    CHECK(got.tokens.size() == 5);  // after positions 59 to 63
    CHECK(got.reason == FinishReason::kLength);
    CHECK(run(engine, greedy(prompt(64), 100)).tokens.size() == 1);
}

TEST_CASE("a cancelled answer leaves what was fed, and nothing wrong") {
    EngineOptions with = sharing_the_device(conversations(1, 512));
    with.in_kernel_prompt = 512;
    Engine engine = make_engine(with);
    Engine plain = make_engine(with);
    for (const int n_read : {0, 1, 7}) {
        CAPTURE(n_read);
        const Tokens asked = prompt(20 + n_read, n_read);
        Tokens tokens = asked;
        {
            Generation generation = engine.submit(greedy(asked, 400));
            for (int i = 0; i < n_read; ++i) tokens.push_back(generation.next()->id);
            generation.cancel();
        }
        append(tokens, prompt(6, 50 + n_read));
        const Outcome got = run(engine, greedy(tokens, 12));
        const Outcome want = run(plain, without_reuse(greedy(tokens, 12)));
        CHECK(got.tokens == want.tokens);
        CHECK(got.logprobs == want.logprobs);
        if (n_read > 1) CHECK(got.statistics.reused_tokens >= 20 + n_read + n_read - 1);
    }
}

TEST_CASE("a stop text ends the answer, and the conversation goes on from the tokens before it") {
    EngineOptions with = conversations(1, 256);
    with.in_kernel_prompt = 256;
    Engine engine = make_engine(with);
    const Outcome all = run(engine, greedy(prompt(20), 30));
    std::string stop;
    for (std::size_t at = 0; at + 3 <= all.text.size() && stop.empty(); ++at)
        if (at > 8) stop = all.text.substr(at, 3);
    REQUIRE(!stop.empty());
    Request request = greedy(prompt(20), 30);
    request.stop = {stop};
    const Outcome stopped = run(engine, request);
    CHECK(stopped.by_text);
    Tokens tokens = prompt(20);
    append(tokens, stopped.tokens);
    append(tokens, prompt(3, 4));
    const Outcome got = run(engine, greedy(tokens, 10));
    CHECK(got.tokens == run(engine, without_reuse(greedy(tokens, 10))).tokens);
    CHECK(got.statistics.reused_tokens >= 20);
}

TEST_CASE("a conversation outlives parking, in the middle of an answer and between two") {
    EngineOptions with = conversations(2, 256);
    with.in_kernel_prompt = 256;
    Engine engine = make_engine(with);
    Tokens tokens = prompt(30);
    Generation generation = engine.submit(greedy(tokens, 60));
    for (int i = 0; i < 5; ++i) tokens.push_back(generation.next()->id);
    engine.park();
    engine.resume();
    while (auto token = generation.next()) tokens.push_back(token->id);
    engine.park();
    append(tokens, prompt(5, 8));
    const Outcome got = run(engine, greedy(tokens, 10));
    CHECK(got.statistics.reused_tokens == 89);
    CHECK(got.tokens == run(engine, without_reuse(greedy(tokens, 10))).tokens);
}

TEST_CASE("scoring in pieces takes the pieces before from the cache, or prefills them if they were driven out") {
    EngineOptions with = conversations(1, 256);
    Engine engine = make_engine(with);
    const Tokens whole = prompt(120);
    Request request = greedy(whole, 0);
    request.score = true;
    const Outcome at_once = run(engine, request);
    REQUIRE(at_once.tokens.size() == 119);

    Request first = request;
    first.prompt.resize(70);
    Request second = request;
    second.n_cached = 70;
    run(engine, first);
    const Outcome rest = run(engine, second);
    check_counts(rest.statistics, 70, 0, 50);
    REQUIRE(rest.tokens.size() == 49);
    CHECK(std::equal(rest.logprobs.begin(), rest.logprobs.end(), at_once.logprobs.begin() + 70));

    run(engine, greedy(prompt(20, 99), 3));
    const Outcome again = run(engine, second);
    check_counts(again.statistics, 0, 70, 50);
    for (std::size_t i = 0; i < again.logprobs.size(); ++i)
        CHECK(again.logprobs[i] == doctest::Approx(rest.logprobs[i]).epsilon(0.01));
}

TEST_CASE("a request that generates nothing claims nothing that was not fed") {
    Engine engine = make_engine(conversations(1, 256));
    run(engine, greedy(prompt(50), 0));
    const Outcome got = run(engine, greedy(prompt(50), 5));
    CHECK(got.statistics.reused_tokens == 49);
    CHECK(got.tokens == run(engine, without_reuse(greedy(prompt(50), 5))).tokens);
    run(engine, greedy(prompt(6, 3), 0));  // fed inside the kernel, had it come to that
    CHECK(run(engine, greedy(prompt(6, 3), 1)).statistics.reused_tokens == 0);
}

TEST_CASE("graph and launch dispatch reuse as the resident kernel does") {
    for (const Dispatch dispatch : {Dispatch::graph, Dispatch::launch}) {
        EngineOptions with = conversations(2, 128);
        with.dispatch = dispatch;
        with.in_kernel_prompt = 128;
        Engine engine = make_engine(with);
        Tokens tokens = prompt(20);
        append(tokens, run(engine, greedy(tokens, 8)).tokens);
        append(tokens, prompt(4, 2));
        const Outcome got = run(engine, greedy(tokens, 8));
        check_counts(got.statistics, 27, 0, 5);
        CHECK(got.tokens == run(engine, without_reuse(greedy(tokens, 8))).tokens);
    }
}

TEST_CASE("a number of conversations that can't be is refused when the engine is loaded") {
    EngineOptions with = options();
    with.parallel = 0;
    CHECK_THROWS_WITH_AS(make_engine(with), "parallel is 0: it must lie between 1 and 1024", host::DeviceError);
    with.parallel = 300;  // of 256 positions
    CHECK_THROWS_WITH_AS(make_engine(with), "ctx_size is 256: too few positions for 300 conversations",
                         host::DeviceError);
}
