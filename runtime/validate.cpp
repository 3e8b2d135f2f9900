#include "runtime/validate.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <stdexcept>

namespace vigil {
namespace {

template <class... Values>
void require(bool holds, fmt::format_string<Values...> text, Values&&... values) {
    if (!holds) throw std::invalid_argument(fmt::format(text, std::forward<Values>(values)...));
}

void validate_sampling(const SamplingParams& s) {
    const auto finite = [](const char* field, float value) {
        require(std::isfinite(value), "sampling.{} is {}: it must be a number", field, value);
    };
    finite("temperature", s.temperature);
    finite("top_p", s.top_p);
    finite("min_p", s.min_p);
    finite("repeat_penalty", s.repeat_penalty);
    finite("frequency_penalty", s.frequency_penalty);
    finite("presence_penalty", s.presence_penalty);
    require(s.repeat_penalty > 0, "sampling.repeat_penalty is {}: it must be above 0", s.repeat_penalty);
    require(s.penalty_last_n >= -1, "sampling.penalty_last_n is {}: -1 means all of the context, 0 off",
            s.penalty_last_n);
}

}  // namespace

void validate(const Request& request, const device::ModelConfig& config, std::int32_t context_size,
              std::int32_t logits_rows) {
    require(!request.prompt.empty(), "prompt is empty");
    require(request.prompt.size() <= static_cast<std::size_t>(context_size),
            "prompt has {} tokens, but the context holds {}", request.prompt.size(), context_size);
    const auto n_prompt = static_cast<std::int32_t>(request.prompt.size());
    for (std::int32_t i = 0; i < n_prompt; ++i) {
        const Token token = request.prompt[static_cast<std::size_t>(i)];
        require(token >= 0 && token < config.vocab_size, "prompt[{}] is {}: the vocabulary has {} tokens", i, token,
                config.vocab_size);
    }
    require(request.max_new_tokens >= 0, "max_new_tokens is {}: it can't be negative", request.max_new_tokens);
    require(request.n_cached >= 0 && request.n_cached < n_prompt,
            "n_cached is {}: with a prompt of {} tokens it must lie between 0 and {}", request.n_cached, n_prompt,
            n_prompt - 1);
    const std::int32_t most = std::min(kMaxTopLogprobs, config.vocab_size);
    require(request.top_logprobs >= 0 && request.top_logprobs <= most,
            "top_logprobs is {}: it must lie between 0 and {}", request.top_logprobs, most);
    for (std::size_t i = 0; i < request.stop.size(); ++i) require(!request.stop[i].empty(), "stop[{}] is empty", i);
    require(!request.emit_logits || request.score, "emit_logits is set without score");
    require(!request.emit_logits || n_prompt - request.n_cached <= logits_rows,
            "emit_logits asks for {} rows, but the engine was loaded with logits_rows {}", n_prompt - request.n_cached,
            logits_rows);
    validate_sampling(request.sampling);
}

}  // namespace vigil
