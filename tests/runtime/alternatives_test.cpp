// The most probable tokens that come with each generated one, held against the logits that scoring hands out.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>

#include "tests/runtime/engine_fixture.h"

using namespace vigil;
using namespace vigil::test;

namespace {

std::vector<TokenResult> results(Engine& engine, const Request& request) {
    Generation generation = engine.submit(request);
    std::vector<TokenResult> all;
    while (auto token = generation.next()) all.push_back(*token);
    REQUIRE(generation.error() == "");
    return all;
}

// The logits after each of the last tokens of `tokens`, row i after token i of those from `first` on.
std::vector<std::vector<float>> logits_after(Engine& engine, const std::vector<Token>& tokens, int first) {
    Request request = greedy(tokens, 0);
    request.score = true;
    request.emit_logits = true;
    request.n_cached = first;
    run(engine, request);
    std::vector<std::vector<float>> rows;
    for (int row = 0; first + row < static_cast<int>(tokens.size()); ++row) {
        const auto logits = engine.logits_row(row);
        rows.emplace_back(logits.begin(), logits.end());
    }
    return rows;
}

std::vector<Token> ranked(const std::vector<float>& logits) {
    std::vector<Token> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](Token a, Token b) {
        return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
    });
    return order;
}

double log_softmax(const std::vector<float>& logits, Token token) {
    double sum = 0.0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    return static_cast<double>(logits[static_cast<std::size_t>(token)]) - std::log(sum);
}

EngineOptions with_logits() {
    EngineOptions with = options();
    with.logits_rows = 64;
    with.in_kernel_prompt = 256;  // so that logits are the same to the bit when scored
    return with;
}

}  // namespace

TEST_CASE("alternatives are the most probable tokens of the model's own distribution, whatever is sampled") {
    Engine engine = make_engine(with_logits());
    const int n_prompt = 12;
    for (const int n : {1, 2, 5, kMaxTopLogprobs}) {
        for (const bool penalised : {false, true}) {
            CAPTURE(n);
            CAPTURE(penalised);
            Request request = greedy(prompt(n_prompt), 24);
            request.top_logprobs = n;
            request.sampling.temperature = 1.3f;
            request.sampling.seed = static_cast<std::uint64_t>(n);
            if (penalised) {
                request.sampling.repeat_penalty = 3.0f;
                request.sampling.presence_penalty = 2.0f;
            }
            const auto got = results(engine, request);
            REQUIRE(got.size() == 24);
            std::vector<Token> tokens = request.prompt;
            for (const TokenResult& token : got) tokens.push_back(token.id);
            const auto rows = logits_after(engine, tokens, n_prompt - 1);
            for (std::size_t i = 0; i < got.size(); ++i) {
                const std::vector<Token> order = ranked(rows[i]);
                REQUIRE(got[i].alternatives.size() == static_cast<std::size_t>(n));
                for (std::size_t rank = 0; rank < got[i].alternatives.size(); ++rank) {
                    const TokenAlternative& alternative = got[i].alternatives[rank];
                    CHECK(alternative.id == order[rank]);
                    CHECK(static_cast<double>(alternative.logprob) ==
                          doctest::Approx(log_softmax(rows[i], order[rank])).epsilon(1e-4));
                    if (alternative.id == got[i].id) CHECK(alternative.logprob == got[i].logprob);
                }
            }
        }
    }
}

TEST_CASE("asking for alternatives changes no token, and none come unasked") {
    Engine engine = make_engine();
    Request request = greedy(prompt(9), 40);
    request.sampling.temperature = 0.9f;
    request.sampling.seed = 3;
    const auto plain = results(engine, request);
    request.top_logprobs = 20;
    const auto asked = results(engine, request);
    REQUIRE(plain.size() == asked.size());
    for (std::size_t i = 0; i < plain.size(); ++i) {
        CHECK(plain[i].id == asked[i].id);
        CHECK(plain[i].logprob == asked[i].logprob);
        CHECK(plain[i].text == asked[i].text);
        CHECK(plain[i].alternatives.empty());
    }
}

TEST_CASE("alternatives arrive whole when the event ring is full and the reader slow") {
    EngineOptions with = options();
    with.ctx_size = 1024;
    Engine engine = make_engine(with);
    Request request = greedy(prompt(4), 1000);  // 21,000 events for a ring of 4,096
    request.top_logprobs = kMaxTopLogprobs;
    const auto got = results(engine, request);
    CHECK(got.size() == 1000);
    CHECK(std::ranges::all_of(got, [](const TokenResult& t) { return t.alternatives.size() == kMaxTopLogprobs; }));
    CHECK(std::ranges::all_of(got, [](const TokenResult& t) { return t.alternatives[0].id == t.id; }));
}

TEST_CASE("more alternatives than there are is refused by field and value") {
    Engine engine = make_engine();
    for (const int n : {-1, kMaxTopLogprobs + 1}) {
        Request request = greedy(prompt(4), 4);
        request.top_logprobs = n;
        CHECK_THROWS_WITH_AS(engine.submit(request),
                             ("top_logprobs is " + std::to_string(n) + ": it must lie between 0 and 20").c_str(),
                             std::invalid_argument);
    }
}
