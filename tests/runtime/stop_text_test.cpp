// Stop texts end a generation at the right character, wherever the tokens' borders are.
#include <doctest/doctest.h>

#include "tests/runtime/engine_fixture.h"

using namespace vigil;
using namespace vigil::test;

namespace {

bool is_boundary(const std::string& text, std::size_t at) {
    return at >= text.size() || (static_cast<unsigned char>(text[at]) & 0xc0u) != 0x80u;
}

// Says many different things, the same each time.
Request talkative(int max_new_tokens) {
    Request request = greedy(prompt(5), max_new_tokens);
    request.sampling = {.temperature = 5.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f};
    return request;
}

}  // namespace

TEST_CASE("a generation ends before a stop text of any length at any place") {
    Engine engine = make_engine();
    const Outcome all = run(engine, talkative(60));
    REQUIRE(all.text.size() > 30);
    int n_tried = 0;
    for (std::size_t length = 1; length < 16; length += 3)
        for (std::size_t at = 0; at + length < all.text.size(); at += 5) {
            if (!is_boundary(all.text, at) || !is_boundary(all.text, at + length)) continue;
            Request request = talkative(60);
            request.stop = {"never in it", all.text.substr(at, length)};
            const Outcome got = run(engine, request);
            CHECK(got.by_text);
            CHECK(got.reason == FinishReason::kStopToken);
            CHECK(got.text == all.text.substr(0, all.text.find(request.stop[1])));
            CHECK(got.tokens.size() <= all.tokens.size());
            ++n_tried;
        }
    CHECK(n_tried > 10);
}

TEST_CASE("what might have become a stop text is handed out when the generation ends") {
    Engine engine = make_engine();
    const Outcome all = run(engine, talkative(20));
    Request request = talkative(20);
    request.stop = {all.text.substr(all.text.size() / 2) + "and more"};
    const Outcome got = run(engine, request);
    CHECK(!got.by_text);
    CHECK(got.reason == FinishReason::kLength);
    CHECK(got.text == all.text);
    CHECK(got.tokens == all.tokens);
}

TEST_CASE("a text that always looks like the beginning of a stop text is streamed all the same") {
    EngineOptions long_context = options();
    long_context.ctx_size = 4096;
    Engine engine = make_engine(long_context);
    constexpr int kTokens = 4000;
    // Greedy decoding of random weights soon repeats itself; what it repeats begins this text again and again.
    const std::string text = run(engine, greedy(prompt(5), 400)).text;
    Request request = greedy(prompt(5), kTokens);
    request.stop = {text.substr(text.size() - 60) + "\x01"};
    Generation generation = engine.submit(request);
    for (int i = 0; i < 500; ++i) REQUIRE(generation.next());
    generation.cancel();
    while (generation.next()) {
    }
    CHECK(generation.statistics().generated_tokens < kTokens);
}

TEST_CASE("a generation that a text ended leaves nothing to the next") {
    Engine engine = make_engine();
    const Outcome all = run(engine, talkative(60));
    Request request = talkative(200);
    request.stop = {all.text.substr(0, 4)};
    for (int i = 0; i < 10; ++i) {
        CHECK(run(engine, request).text.empty());
        CHECK(run(engine, talkative(60)).tokens == all.tokens);
    }
}

TEST_CASE("the text of the tokens is the text of their sequence") {
    Engine engine = make_engine();
    for (int seed = 0; seed < 10; ++seed) {
        Request request = greedy(prompt(5, seed), 60);
        request.sampling = {.temperature = 5.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f};
        const Outcome got = run(engine, request);
        CHECK(got.text == engine.tokenizer().decode(got.tokens));
    }
}
