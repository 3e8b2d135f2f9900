// The exact sampler on distributions small enough to work out by hand.
#include "tests/reference/sampler_reference.h"

#include <cmath>
#include <doctest/doctest.h>

using namespace vigil;
using namespace vigil::reference;

namespace {

// All filters and penalties off.
ring::SamplingParams plain(float temperature = 1.0f) {
    ring::SamplingParams params;
    params.temperature = temperature;
    params.top_k = 0;
    params.top_p = 1.0f;
    params.min_p = 0.0f;
    return params;
}

// Logits of the probabilities 0.1, 0.4, 0.3, 0.2.
const std::vector<double> kLogits = {std::log(0.1), std::log(0.4), std::log(0.3), std::log(0.2)};

void check_distribution(const ring::SamplingParams& params, const std::vector<double>& want,
                        std::vector<std::int32_t> history = {}) {
    const auto got = next_token_distribution(kLogits, params, history);
    REQUIRE(got.size() == want.size());
    for (std::size_t i = 0; i < want.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]));
}

}  // namespace

TEST_CASE("temperature 1 alone gives the softmax") {
    check_distribution(plain(), {0.1, 0.4, 0.3, 0.2});
}

TEST_CASE("temperature 0.5 squares the odds") {
    check_distribution(plain(0.5f), {1.0 / 30, 16.0 / 30, 9.0 / 30, 4.0 / 30});
}

TEST_CASE("temperature 0 takes the highest logit") {
    check_distribution(plain(0.0f), {0, 1, 0, 0});
}

TEST_CASE("top-k keeps the k most likely") {
    auto params = plain();
    params.top_k = 2;
    check_distribution(params, {0, 4.0 / 7, 3.0 / 7, 0});
}

TEST_CASE("top-p keeps the shortest prefix that reaches p") {
    auto params = plain();
    params.top_p = 0.65f;
    check_distribution(params, {0, 4.0 / 7, 3.0 / 7, 0});
    params.top_p = 0.75f;
    check_distribution(params, {0, 4.0 / 9, 3.0 / 9, 2.0 / 9});
}

TEST_CASE("top-p measures what top-k left") {
    auto params = plain();
    params.top_k = 2;
    params.top_p = 0.55f;  // 0.4 alone is 0.4 of all, but 4/7 of the two
    check_distribution(params, {0, 1, 0, 0});
}

TEST_CASE("min-p drops what is less likely than its share of the best") {
    auto params = plain();
    params.min_p = 0.6f;  // of 0.4: 0.24
    check_distribution(params, {0, 4.0 / 7, 3.0 / 7, 0});
}

TEST_CASE("min-p judges before temperature") {
    auto params = plain(0.5f);
    params.min_p = 0.3f;  // of 0.4: 0.12; after temperature 4 would be less than 0.3 of 16
    check_distribution(params, {0, 16.0 / 29, 9.0 / 29, 4.0 / 29});
}

TEST_CASE("penalties scale by sign and count occurrences in the window") {
    auto params = plain();
    params.repeat_penalty = 2.0f;
    params.frequency_penalty = 0.25f;
    params.presence_penalty = 0.5f;
    params.penalty_last_n = 3;
    const std::vector<double> logits = {1.0, -1.0, 3.0, 0.5};
    const std::vector<std::int32_t> history = {3, 0, 1, 0};  // the 3 lies outside the window
    const auto scores = penalised(logits, params, history);
    CHECK(scores[0] == doctest::Approx(0.5 - 2 * 0.25 - 0.5));
    CHECK(scores[1] == doctest::Approx(-2.0 - 0.25 - 0.5));
    CHECK(scores[2] == 3.0);
    CHECK(scores[3] == 0.5);
    params.penalty_last_n = 0;
    CHECK(penalised(logits, params, history) == logits);
    params.penalty_last_n = -1;
    CHECK(penalised(logits, params, history)[3] == doctest::Approx(0.25 - 0.75));
}

TEST_CASE("kept tokens include all that equal the last one") {
    const std::vector<float> scores = {1.0f, 3.0f, 2.0f, NAN, 2.0f, -INFINITY};
    auto params = plain();
    using Tokens = std::vector<std::int32_t>;
    CHECK(kept_tokens(scores, params) == Tokens{1, 2, 4, 0, 5});
    params.top_k = 2;
    CHECK(kept_tokens(scores, params) == Tokens{1, 2, 4});
    params.top_p = 0.5f;  // e^3 of e^3 + 2 e^2
    CHECK(kept_tokens(scores, params) == Tokens{1});
    params.top_p = 0.7f;
    CHECK(kept_tokens(scores, params) == Tokens{1, 2, 4});
    params = plain();
    params.min_p = 0.3f;  // e^-1.2
    CHECK(kept_tokens(scores, params) == Tokens{1, 2, 4});
}
