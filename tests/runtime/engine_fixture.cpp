#include "tests/runtime/engine_fixture.h"

#include "tests/phases/test_model.h"
#include "tests/reference/test_device.h"

namespace vigil::test {

const std::filesystem::path& model_path() {
    static const phases::TestModel model(phases::small_spec());
    return model.file().path();
}

EngineOptions options() {
    EngineOptions options;
    options.ctx_size = 256;
    options.use_cublas = false;
    options.in_kernel_prompt = 8;  // on every device
    options.deadline = std::chrono::seconds(20);
    options.lease = std::chrono::seconds(20);
    return options;
}

Engine make_engine(const EngineOptions& options) {
    return Engine::load(model_path(), options, reference::make_test_device());
}

std::vector<Token> prompt(int n, int seed) {
    std::vector<Token> tokens;
    for (int i = 0; i < n; ++i) tokens.push_back((i * 7919 + i * i * 31 + seed * 101 + 5) % 512);
    return tokens;
}

Request greedy(std::vector<Token> prompt, int max_new_tokens) {
    Request request;
    request.prompt = std::move(prompt);
    request.sampling.temperature = 0.0f;
    request.max_new_tokens = max_new_tokens;
    request.ignore_eos = true;
    return request;
}

Request greedy_anew(std::vector<Token> prompt, int max_new_tokens) {
    Request request = greedy(std::move(prompt), max_new_tokens);
    request.reuse_prefix = false;
    return request;
}

Outcome collect(Generation& generation) {
    Outcome outcome;
    while (auto token = generation.next()) {
        outcome.tokens.push_back(token->id);
        outcome.logprobs.push_back(token->logprob);
        outcome.times_ns.push_back(token->time_ns);
        outcome.text += token->text;
    }
    outcome.reason = generation.reason();
    outcome.by_text = generation.stopped_by_text();
    outcome.error = generation.error();
    outcome.statistics = generation.statistics();
    return outcome;
}

Outcome run(Engine& engine, const Request& request) {
    Generation generation = engine.submit(request);
    return collect(generation);
}

}  // namespace vigil::test
