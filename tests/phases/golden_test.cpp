// A real model on the device under test against transformers.
#include "tests/reference/golden.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "tests/reference/harness.h"
#include "tests/reference/skip.h"

using namespace vigil;
using reference::Golden;
using reference::Harness;

namespace {

gguf::File open_model() {
    const auto path = reference::find_model();
    if (!path) reference::skip_program("no SmolLM2 model; set VIGIL_MODEL or run scripts/fetch_model.sh");
    return gguf::File::open(*path);
}

std::vector<std::int32_t> first(const std::vector<int>& tokens, int n) {
    return {tokens.begin(), tokens.begin() + n};
}

double mean_nll(const std::vector<ring::TokenEvent>& events) {
    double sum = 0.0;
    int n = 0;
    for (const auto& event : events) {
        if (event.kind != ring::EventKind::kScore) continue;
        sum -= static_cast<double>(event.logprob);
        ++n;
    }
    return sum / n;
}

// Scores `tokens` from the beginning; one event per token but the first.
std::vector<ring::TokenEvent> score(Harness& harness, const std::vector<std::int32_t>& tokens, std::uint32_t flags) {
    auto job = harness.make_job(tokens, 0, 0);
    job.flags = ring::kJobScore | flags;
    auto events = harness.run(job, tokens, host::Dispatch::persistent);
    REQUIRE(events.back().reason != ring::FinishReason::kFault);
    events.pop_back();
    REQUIRE(events.size() == tokens.size() - 1);
    return events;
}

}  // namespace

TEST_CASE("greedy continuations of five prompts are those of transformers") {
    const Golden golden = reference::load_golden();
    const gguf::File file = open_model();
    Harness harness(file, reference::test_device(), {.max_seq_len = 256});
    REQUIRE(golden.greedy.size() == 5);
    for (const auto& wanted : golden.greedy) {
        CAPTURE(wanted.text);
        REQUIRE(wanted.continuation.size() == 64);
        const auto prompt = first(wanted.prompt, static_cast<int>(wanted.prompt.size()));
        const auto job = harness.make_job(prompt, 0, 64);
        std::vector<int> tokens;
        for (const auto& event : harness.run(job, prompt, host::Dispatch::persistent))
            if (event.kind == ring::EventKind::kToken) tokens.push_back(event.token);
        CHECK(tokens == wanted.continuation);
    }
}

TEST_CASE("logits and likelihood of a text of 128 tokens are those of transformers") {
    const Golden golden = reference::load_golden();
    const gguf::File file = open_model();
    const int n = golden.n_logits;
    Harness harness(file, reference::test_device(), {.max_seq_len = 256, .logits_rows = n});
    const auto events = score(harness, first(golden.text_tokens, n), ring::kJobEmitLogits);
    CHECK(mean_nll(events) == doctest::Approx(golden.logits_nll).epsilon(0.005));

    double worst = 0.0;
    int same_argmax = 0;
    for (int t = 0; t + 1 < n; ++t) {
        const auto logits = harness.emitted_logits(t);
        const auto& statistics = golden.statistics[static_cast<std::size_t>(t)];
        for (std::size_t i = 0; i < golden.columns.size(); ++i) {
            const float want = golden.logits[static_cast<std::size_t>(t) * golden.columns.size() + i];
            const float got = logits[static_cast<std::size_t>(golden.columns[i])];
            REQUIRE(std::isfinite(got));
            worst = std::max(worst, static_cast<double>(std::abs(got - want) / statistics.deviation));
        }
        same_argmax += std::max_element(logits.begin(), logits.end()) - logits.begin() ==
                       golden.argmax[static_cast<std::size_t>(t)];
    }
    MESSAGE("largest difference of a logit, over the logits' deviation: "
            << worst << "; same likeliest token at " << same_argmax << " of " << n - 1 << " positions; nll "
            << mean_nll(events) << ", transformers " << golden.logits_nll);
    CHECK(worst <= 1e-2);
    CHECK(same_argmax >= n - 3);  // near-ties may go either way
}

TEST_CASE("[long] likelihood of a text of two thousand tokens is that of transformers") {
    const Golden golden = reference::load_golden();
    const gguf::File file = open_model();
    const auto n = static_cast<int>(golden.text_tokens.size());
    Harness harness(file, reference::test_device(), {.max_seq_len = n + 1, .event_capacity = 4096});
    const double nll = mean_nll(score(harness, first(golden.text_tokens, n), 0));
    MESSAGE("nll " << nll << ", transformers " << golden.text_nll << ", over " << n - 1 << " tokens");
    CHECK(nll == doctest::Approx(golden.text_nll).epsilon(0.001));
}
