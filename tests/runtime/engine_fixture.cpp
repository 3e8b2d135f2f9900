#include "tests/runtime/engine_fixture.h"

#include <cstdlib>

#include "tests/phases/test_model.h"
#include "tests/reference/skip.h"

namespace vigil::test {
namespace {

std::string device_name() {
    const char* given = std::getenv("VIGIL_TEST_DEVICE");
    return given != nullptr ? given : "cpu";
}

}  // namespace

const std::filesystem::path& model_path() {
    static const phases::TestModel model(phases::small_spec());
    return model.file().path();
}

bool on_cpu() {
    return device_name() == "cpu";
}

std::unique_ptr<host::Device> make_device() {
    const std::string name = device_name();
    if (name == "cpu") return host::make_cpu_device(2);
    if (host::cuda_device_count() == 0)
        reference::skip_program("VIGIL_TEST_DEVICE is " + name + " but there is no CUDA device");
    return host::make_cuda_device(name == "cuda" ? 0 : std::stoi(name.substr(5)));
}

EngineOptions options() {
    EngineOptions options;
    options.ctx_size = 256;
    options.use_cublas = false;
    options.deadline = std::chrono::seconds(20);
    options.lease = std::chrono::seconds(20);
    return options;
}

Engine make_engine(const EngineOptions& options) {
    return Engine::load(model_path(), options, make_device());
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
