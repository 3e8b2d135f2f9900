// What the benchmark computes from its measurements, and how it shows it.
#include <algorithm>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/bench/report.h"

using namespace vigil::bench;
using vigil::host::Dispatch;
using Json = nlohmann::json;

namespace {

TokenFigures row(Dispatch dispatch, std::int32_t depth, std::vector<std::int32_t> tokens) {
    TokenFigures figures;
    figures.dispatch = dispatch;
    figures.depth = depth;
    figures.n_tokens = static_cast<std::int32_t>(tokens.size());
    figures.gigabytes_per_second = 500;
    figures.tokens = std::move(tokens);
    return figures;
}

ModelFigures model_with(std::vector<TokenFigures> rows) {
    ModelFigures model;
    model.model = "a \"quoted\", comma";
    model.tokens = std::move(rows);
    return model;
}

std::vector<bool> same_tokens(const ModelFigures& model) {
    std::vector<bool> same;
    const Json json = Json::parse(to_json(RunContext{}, {model}));
    for (const Json& r : json.at("models")[0].at("decode")) same.push_back(r.at("same_tokens").get<bool>());
    return same;
}

}  // namespace

TEST_CASE("percentiles interpolate between the values, up to the largest") {
    std::vector<double> values;
    for (int i = 1000; i >= 0; --i) values.push_back(i);
    const Percentiles p = percentiles(values);
    CHECK(p.p50 == doctest::Approx(500));
    CHECK(p.p90 == doctest::Approx(900));
    CHECK(p.p99 == doctest::Approx(990));
    CHECK(p.p999 == doctest::Approx(999));
    CHECK(p.max == 1000);
    CHECK(percentiles({}).max == 0);
}

TEST_CASE("the deviation is that of a sample") {
    const std::vector<double> values{2, 4, 9};
    CHECK(mean_and_deviation(values).mean == doctest::Approx(5));
    CHECK(mean_and_deviation(values).deviation == doctest::Approx(3.605551));
    CHECK(mean_and_deviation(std::vector<double>{7}).deviation == 0);
    CHECK(mean_and_deviation({}).mean == 0);
}

TEST_CASE("a test needs its depth and the longer of warm-up and timed tokens, beyond 32 bits too") {
    TokenTest tokens;
    tokens.depth = 100;
    tokens.n_warmup = 64;
    tokens.n_tokens = 10;
    CHECK(positions_needed(tokens) == 166);
    tokens.n_tokens = 80;
    CHECK(positions_needed(tokens) == 182);
    PromptTest prompt;
    prompt.depth = 2'147'483'647;
    prompt.n_prompt = 512;
    CHECK(positions_needed(prompt) == 2'147'484'160);
}

TEST_CASE("tests are named as llama-bench does") {
    CHECK(test_name(row(Dispatch::graph, 0, {1, 2})) == "tg2");
    CHECK(test_name(row(Dispatch::graph, 4096, {1})) == "tg1 @ d4096");
    PromptFigures prompt;
    prompt.depth = 8;
    prompt.n_prompt = 512;
    CHECK(test_name(prompt) == "pp512 @ d8");
}

TEST_CASE("tokens are compared with the first dispatch of the same test") {
    CHECK(same_tokens(model_with({row(Dispatch::persistent, 0, {1, 2}), row(Dispatch::graph, 0, {1, 2}),
                                  row(Dispatch::launch, 0, {1, 3}), row(Dispatch::persistent, 9, {7, 8}),
                                  row(Dispatch::launch, 9, {7, 8}), row(Dispatch::graph, 0, {5})})) ==
          std::vector<bool>{true, true, false, true, true, true});
}

TEST_CASE("repetitions that differ are told, although the first was right") {
    auto rows = std::vector{row(Dispatch::persistent, 0, {1, 2})};
    rows[0].repeats = false;
    CHECK(same_tokens(model_with(rows)) == std::vector<bool>{false});
}

TEST_CASE("a share is told where a ceiling was measured, and only there") {
    const auto model = model_with({row(Dispatch::persistent, 0, {1})});
    RunContext context;
    context.read_ceiling = 1000;
    CHECK(Json::parse(to_json(context, {model})).at("models")[0].at("decode")[0].at("share_of_ceiling") == 0.5);
    CHECK(to_markdown(context, {model}).find("50.0 %") != std::string::npos);
    context.read_ceiling = 0;
    context.no_read_ceiling = "nobody asked";
    CHECK(Json::parse(to_json(context, {model})).at("models")[0].at("decode")[0].at("share_of_ceiling").is_null());
    CHECK(to_markdown(context, {model}).find("nobody asked") != std::string::npos);
    CHECK(to_csv(context, {model}).find("inf") == std::string::npos);
}

TEST_CASE("CSV quotes what would break a line") {
    RunContext context;
    context.device = "GPU";
    const std::string text = to_csv(context, {model_with({row(Dispatch::persistent, 0, {1})})});
    CHECK(text.find(R"("a ""quoted"", comma")") != std::string::npos);
    CHECK(std::count(text.begin(), text.end(), '\n') == 2);
}

TEST_CASE("an error of a model stands in every report that has room for text") {
    ModelFigures failed;
    failed.model = "broken";
    failed.error = "no such tensor";
    CHECK(Json::parse(to_json(RunContext{}, {failed})).at("models")[0].at("error") == "no such tensor");
    CHECK(to_markdown(RunContext{}, {failed}).find("broken: no such tensor") != std::string::npos);
}
