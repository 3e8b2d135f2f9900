// The JSON of a request for a completion, checked field by field, as what the engine is to do.
// Which fields there are, and which of OpenAI's are refused or ignored: docs/serve.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "host/chat/chat_template.h"
#include "runtime/engine.h"
#include "runtime/serve/json_fields.h"

namespace vigil::serve {

inline constexpr std::int32_t kMaxTopLogprobs = 20;

// A text to be tokenized, or token ids.
using Prompt = std::variant<std::string, std::vector<Token>>;

struct Parameters {
    bool chat = false;
    std::vector<ChatMessage> messages;  // chat
    std::vector<Prompt> prompts;        // completions: one choice each
    SamplingParams sampling;            // the seed is chosen
    std::optional<std::int32_t> max_tokens;
    std::vector<std::string> stop;
    bool ignore_eos = false;
    bool echo = false;
    bool stream = false;
    bool include_usage = false;
    bool timings_per_token = false;
    std::optional<std::int32_t> top_logprobs;  // absent: no log-probabilities at all
};

// Throw ApiError naming the field and its value.
Parameters chat_parameters(const InputJson& body);
Parameters completion_parameters(const InputJson& body);

// An array of token ids. Their range is the engine's to check.
std::vector<Token> read_tokens(const InputJson& value, const std::string& name);

}  // namespace vigil::serve
