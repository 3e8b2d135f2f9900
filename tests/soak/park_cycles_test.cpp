// Thousands of times: the kernel parks, a prompt is prefilled, the kernel comes back and decodes the same tokens as
// ever. $VIGIL_SOAK_CYCLES says how often (200).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <random>
#include <string>
#include <vector>

#include "runtime/engine.h"
#include "tests/phases/test_model.h"
#include "tests/reference/test_device.h"

namespace {

using vigil::Dispatch;
using vigil::Engine;
using vigil::FinishReason;
using vigil::Generation;
using vigil::Token;
using vigil::phases::TestModel;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr int kPrompts = 16;
constexpr int kTokens = 4;

int cycles() {
    const char* given = std::getenv("VIGIL_SOAK_CYCLES");
    return given != nullptr ? std::stoi(given) : 200;
}

Engine load(const TestModel& model, Dispatch dispatch) {
    vigil::reference::skip_without_device();
    vigil::EngineOptions options;
    options.device = vigil::reference::test_device_name();
    options.dispatch = dispatch;
    options.ctx_size = 512;
    options.cpu_threads = 2;
    options.in_kernel_prompt = 0;  // every prompt is prefilled
    return Engine::load(model.file().path(), options);
}

// Between 2 and 40 random tokens each.
std::vector<std::vector<Token>> random_prompts() {
    std::mt19937 random(11);
    std::uniform_int_distribution<std::size_t> any_length(2, 40);
    std::uniform_int_distribution<Token> any_token(0, 511);
    std::vector<std::vector<Token>> prompts(kPrompts);
    for (auto& prompt : prompts) {
        prompt.resize(any_length(random));
        std::ranges::generate(prompt, [&] { return any_token(random); });
    }
    return prompts;
}

Generation start(Engine& engine, const std::vector<Token>& prompt, int n_tokens) {
    vigil::Request request;
    request.prompt = prompt;
    request.sampling.temperature = 0.0f;
    request.max_new_tokens = n_tokens;
    request.ignore_eos = true;
    request.reuse_prefix = false;
    return engine.submit(std::move(request));
}

std::vector<Token> rest_of(Generation& generation) {
    std::vector<Token> tokens;
    while (auto token = generation.next()) tokens.push_back(token->id);
    INFO(generation.error());
    REQUIRE(generation.reason() == FinishReason::kLength);
    return tokens;
}

std::vector<Token> generate(Engine& engine, const std::vector<Token>& prompt, int n_tokens) {
    Generation generation = start(engine, prompt, n_tokens);
    return rest_of(generation);
}

// What each prompt gives without a resident kernel.
std::vector<std::vector<Token>> reference(const TestModel& model, const std::vector<std::vector<Token>>& prompts,
                                          int n_tokens) {
    Engine engine = load(model, Dispatch::launch);
    std::vector<std::vector<Token>> answers;
    for (const auto& prompt : prompts) answers.push_back(generate(engine, prompt, n_tokens));
    return answers;
}

}  // namespace

TEST_CASE("every cycle of park, prefill and resume decodes the same tokens") {
    const TestModel model(vigil::phases::small_spec());
    const auto prompts = random_prompts();
    const auto expected = reference(model, prompts, kTokens);
    Engine engine = load(model, Dispatch::persistent);

    const int n_cycles = cycles();
    double slowest = 0;
    const auto begin = Clock::now();
    for (int cycle = 0; cycle < n_cycles; ++cycle) {
        const auto cycle_begin = Clock::now();
        const auto which = static_cast<std::size_t>(cycle % kPrompts);
        // Prefill parks a kernel that is resident; every third time it is parked already.
        if (cycle % 3 == 0) engine.park();
        const auto tokens = generate(engine, prompts[which], kTokens);
        INFO("cycle " << cycle);
        REQUIRE(tokens == expected[which]);
        slowest = std::max(slowest, Milliseconds(Clock::now() - cycle_begin).count());
    }
    const double total = Milliseconds(Clock::now() - begin).count();
    std::printf("%d cycles of park, prefill, resume and %d tokens: %.2f s, %.3f ms each, %.3f ms the slowest\n",
                n_cycles, kTokens, total / 1e3, total / n_cycles, slowest);

    const auto statistics = engine.statistics();
    CHECK(statistics.prefills == static_cast<std::uint64_t>(n_cycles));
    CHECK(statistics.launches >= static_cast<std::uint64_t>(n_cycles));
}

TEST_CASE("a kernel parked in the middle of a generation goes on with the same tokens") {
    constexpr int kLong = 96;
    const TestModel model(vigil::phases::small_spec());
    const auto prompts = random_prompts();
    const auto expected = reference(model, prompts, kLong);
    Engine engine = load(model, Dispatch::persistent);

    const int n_cycles = std::max(10, cycles() / 20);
    for (int cycle = 0; cycle < n_cycles; ++cycle) {
        const auto which = static_cast<std::size_t>(cycle % kPrompts);
        Generation generation = start(engine, prompts[which], kLong);
        std::vector<Token> tokens;
        for (int i = 0; i < 1 + cycle % 7; ++i) {
            auto token = generation.next();
            REQUIRE(token.has_value());
            tokens.push_back(token->id);
        }
        engine.park();
        engine.resume();
        for (const Token token : rest_of(generation)) tokens.push_back(token);
        INFO("cycle " << cycle);
        REQUIRE(tokens == expected[which]);
    }
    std::printf("%d generations parked midway and resumed\n", n_cycles);
}
