// Engines over a tiny synthetic model on the device under test (tests/reference/test_device.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "host/device.h"
#include "runtime/engine.h"

namespace vigil::test {

// The tiny model's file, one per program.
const std::filesystem::path& model_path();

// Deadlines that a busy machine does not miss, a context of 256.
EngineOptions options();
Engine make_engine(const EngineOptions& options = test::options());

// `n` tokens that mean nothing.
std::vector<Token> prompt(int n, int seed = 1);
// Greedy, and not ended by the model's own stop tokens.
Request greedy(std::vector<Token> prompt, int max_new_tokens);
// The same, computed from its first token on whatever the KV cache holds.
Request greedy_anew(std::vector<Token> prompt, int max_new_tokens);

struct Outcome {
    std::vector<Token> tokens;
    std::vector<float> logprobs;
    std::vector<std::uint64_t> times_ns;
    std::string text;
    FinishReason reason = FinishReason::kNone;
    bool by_text = false;
    std::string error;
    RequestStatistics statistics;
};
Outcome collect(Generation& generation);
Outcome run(Engine& engine, const Request& request);

}  // namespace vigil::test
