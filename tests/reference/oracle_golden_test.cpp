// The oracle itself against transformers on a real model: what judges the kernels is judged here.
#include <cmath>
#include <doctest/doctest.h>

#include "tests/reference/golden.h"
#include "tests/reference/oracle.h"
#include "tests/reference/skip.h"

using namespace vigil;
using namespace vigil::reference;

namespace {

// The model is read once, since unpacking it takes longer than a test.
Oracle& real_model() {
    static Oracle oracle = [] {
        const auto path = find_model();
        if (!path) skip_program("no SmolLM2 model; set VIGIL_MODEL or run scripts/fetch_model.sh");
        return Oracle(gguf::File::open(*path));
    }();
    return oracle;
}

}  // namespace

TEST_CASE("the oracle's logits on a real model are those of transformers") {
    Oracle& oracle = real_model();
    const Golden golden = load_golden();
    oracle.reset();
    constexpr int kPositions = 48;  // in double precision on one core; the rest would show nothing new
    double worst = 0.0;
    for (int t = 0; t < kPositions; ++t) {
        const TokenTrace& trace = oracle.forward(golden.text_tokens[t]);
        CHECK(argmax(trace.logits) == golden.argmax[t]);
        for (std::size_t i = 0; i < golden.columns.size(); ++i) {
            const double want = golden.logits[t * golden.columns.size() + i];
            worst = std::max(worst, std::abs(trace.logits[golden.columns[i]] - want) /
                                        static_cast<double>(golden.statistics[t].deviation));
        }
        double mean = 0.0;
        for (const double logit : trace.logits) mean += logit / static_cast<double>(trace.logits.size());
        CHECK(mean == doctest::Approx(golden.statistics[t].mean).epsilon(1e-3));
        const double top = trace.logits[golden.argmax[t]];
        CHECK(top - log_softmax(trace.logits, golden.argmax[t]) ==
              doctest::Approx(golden.statistics[t].logsumexp).epsilon(1e-4));
    }
    MESSAGE("largest difference of a logit, over the logits' deviation: " << worst);
    CHECK(worst < 1e-3);
}

TEST_CASE("the oracle continues a prompt as transformers does") {
    Oracle& oracle = real_model();
    constexpr std::size_t kTokens = 12;
    for (const GreedyCase& wanted : load_golden().greedy) {
        CAPTURE(wanted.text);
        const std::vector<int> first(wanted.continuation.begin(), wanted.continuation.begin() + kTokens);
        CHECK(generate_greedy(oracle, wanted.prompt, kTokens) == first);
    }
}
