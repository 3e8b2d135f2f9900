// Requests that can't run are refused with field and value.
#include <cmath>
#include <doctest/doctest.h>
#include <functional>
#include <limits>
#include <stdexcept>

#include "tests/runtime/engine_fixture.h"

using namespace vigil;
using namespace vigil::test;

namespace {

std::string refusal(Engine& engine, const std::function<void(Request&)>& change) {
    Request request = greedy(prompt(4), 4);
    change(request);
    try {
        Generation generation = engine.submit(request);
    } catch (const std::invalid_argument& e) {
        return e.what();
    }
    return "accepted";
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a request that can't run is refused by field and value, and the engine goes on") {
    Engine engine = make_engine();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinite = std::numeric_limits<float>::infinity();
    CHECK(refusal(engine, [](Request& r) { r.prompt.clear(); }) == "prompt is empty");
    CHECK(contains(refusal(engine, [](Request& r) { r.prompt = prompt(257); }), "prompt has 257 tokens"));
    CHECK(contains(refusal(engine, [](Request& r) { r.prompt[2] = 512; }), "prompt[2] is 512"));
    CHECK(contains(refusal(engine, [](Request& r) { r.prompt[1] = -1; }), "prompt[1] is -1"));
    CHECK(contains(refusal(engine, [](Request& r) { r.max_new_tokens = -3; }), "max_new_tokens is -3"));
    CHECK(contains(refusal(engine, [](Request& r) { r.n_cached = 4; }), "n_cached is 4"));
    CHECK(contains(refusal(engine, [](Request& r) { r.n_cached = -1; }), "n_cached is -1"));
    CHECK(contains(refusal(engine, [](Request& r) { r.stop = {"a", ""}; }), "stop[1] is empty"));
    CHECK(contains(refusal(engine, [](Request& r) { r.emit_logits = true; }), "emit_logits is set without score"));
    CHECK(contains(refusal(engine, [](Request& r) { r.score = r.emit_logits = true; }), "emit_logits asks for 4 rows"));
    CHECK(contains(refusal(engine, [&](Request& r) { r.sampling.temperature = nan; }), "sampling.temperature is nan"));
    CHECK(contains(refusal(engine, [&](Request& r) { r.sampling.top_p = infinite; }), "sampling.top_p is inf"));
    CHECK(contains(refusal(engine, [&](Request& r) { r.sampling.min_p = nan; }), "sampling.min_p is nan"));
    CHECK(contains(refusal(engine, [](Request& r) { r.sampling.repeat_penalty = 0; }), "sampling.repeat_penalty is 0"));
    CHECK(contains(refusal(engine, [&](Request& r) { r.sampling.presence_penalty = nan; }), "presence_penalty is nan"));
    CHECK(contains(refusal(engine, [&](Request& r) { r.sampling.frequency_penalty = nan; }), "frequency_penalty"));
    CHECK(contains(refusal(engine, [](Request& r) { r.sampling.penalty_last_n = -2; }), "penalty_last_n is -2"));
    CHECK(refusal(engine, [](Request&) {}) == "accepted");
    CHECK(run(engine, greedy(prompt(4), 4)).tokens.size() == 4);
}

TEST_CASE("a context that can't be is refused when the engine is loaded") {
    EngineOptions with = options();
    with.ctx_size = -1;
    CHECK_THROWS_AS(make_engine(with), host::DeviceError);
}

TEST_CASE("a context beyond the model's is allowed with a warning") {
    EngineOptions with = options();
    with.ctx_size = 5000;
    std::string warning;
    with.on_warning = [&](const std::string& text) { warning += text; };
    Engine engine = make_engine(with);
    CHECK(engine.config().max_seq_len == 5000);
    CHECK(contains(warning, "5000"));
}
