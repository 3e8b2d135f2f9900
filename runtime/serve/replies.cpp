#include "runtime/serve/replies.h"

#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <random>
#include <utility>

namespace vigil::serve {
namespace {

std::string random_id(bool chat) {
    static thread_local std::mt19937_64 random{std::random_device{}()};
    return fmt::format("{}{:016x}{:08x}", chat ? "chatcmpl-" : "cmpl-", random(), static_cast<std::uint32_t>(random()));
}

Json bytes_of(const std::string& text) {
    Json bytes = Json::array();
    for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
    return bytes;
}

double rounded(double value) {
    return std::round(value * 1000) / 1000;
}

}  // namespace

Json LogprobList::token_object(Token id, float logprob) const {
    const std::string text = tokenizer_.piece(id, true);
    // OpenAI's lowest number, where the logarithm has none.
    const double finite = std::isfinite(logprob) ? static_cast<double>(logprob) : -9999.0;
    return {{"token", text}, {"logprob", finite}, {"bytes", bytes_of(text)}};
}

void LogprobList::add(const TokenResult& token, std::size_t offset) {
    Json entry = token_object(token.id, token.logprob);
    if (chat_) {
        entry["top_logprobs"] = Json::array();
        for (const TokenAlternative& other : token.alternatives)
            entry["top_logprobs"].push_back(token_object(other.id, other.logprob));
        list_.push_back(std::move(entry));
        return;
    }
    tokens_.push_back(entry["token"]);
    logprobs_.push_back(entry["logprob"]);
    Json top = Json::object();
    for (const TokenAlternative& other : token.alternatives) {
        const Json object = token_object(other.id, other.logprob);
        top[object["token"].get<std::string>()] = object["logprob"];
    }
    tops_.push_back(std::move(top));
    offsets_.push_back(offset);
}

Json LogprobList::take() {
    if (chat_) return {{"content", std::exchange(list_, Json::array())}, {"refusal", nullptr}};
    return {{"tokens", std::exchange(tokens_, Json::array())},
            {"token_logprobs", std::exchange(logprobs_, Json::array())},
            {"top_logprobs", std::exchange(tops_, Json::array())},
            {"text_offset", std::exchange(offsets_, Json::array())}};
}

void Usage::add(const RequestStatistics& s) {
    prompt_tokens += s.prompt_tokens;
    cached_tokens += s.reused_tokens;
    completion_tokens += s.generated_tokens;
}

Json Usage::json() const {
    return {{"prompt_tokens", prompt_tokens},
            {"completion_tokens", completion_tokens},
            {"total_tokens", prompt_tokens + completion_tokens},
            {"prompt_tokens_details", {{"cached_tokens", cached_tokens}}}};
}

Json timings(const Ending& ending) {
    const RequestStatistics& s = ending.statistics;
    Json result = {{"prompt_tokens", s.prompt_tokens},
                   {"reused_tokens", s.reused_tokens},
                   {"prefilled_tokens", s.prefilled_tokens},
                   {"fed_tokens", s.fed_tokens},
                   {"queue_ms", rounded(ending.queue_ms)},
                   {"prompt_ms", rounded(s.prefill_ms)},
                   {"time_to_first_token_ms", rounded(s.time_to_first_token_ms)},
                   {"generated_tokens", s.generated_tokens},
                   {"tokens_per_second", rounded(s.tokens_per_second())},
                   {"ms_per_token_p50", rounded(percentile(s.token_ms, 50))},
                   {"ms_per_token_p99", rounded(percentile(s.token_ms, 99))},
                   {"total_ms", rounded(s.total_ms)},
                   {"accepted_to_submitted_us", rounded(ending.accepted_to_submitted_us)}};
    if (!ending.token_to_socket_us.empty())
        result["token_to_socket_us_p50"] = rounded(percentile(ending.token_to_socket_us, 50));
    return result;
}

Replies::Replies(bool chat, std::string model)
    : chat_(chat),
      id_(random_id(chat)),
      model_(std::move(model)),
      created_(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
                   .count()) {}

Json Replies::frame(const char* object) const {
    return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
}

Json Replies::whole(const std::vector<Choice>& choices, const Usage& usage,
                    const std::vector<Json>& all_timings) const {
    Json list = Json::array();
    for (std::size_t i = 0; i < choices.size(); ++i) {
        Json choice = {{"index", i}};
        if (chat_)
            choice["message"] = {{"role", "assistant"}, {"content", choices[i].text}, {"refusal", nullptr}};
        else
            choice["text"] = choices[i].text;
        choice["logprobs"] = choices[i].logprobs;
        choice["finish_reason"] = choices[i].finish_reason;
        list.push_back(std::move(choice));
    }
    Json result = frame(chat_ ? "chat.completion" : "text_completion");
    result["choices"] = std::move(list);
    result["usage"] = usage.json();
    result["timings"] = all_timings.size() == 1 ? all_timings.front() : Json(all_timings);
    return result;
}

Json Replies::chunk(Json choice) const {
    Json result = frame(chat_ ? "chat.completion.chunk" : "text_completion");
    result["choices"] = Json::array();
    if (!choice.is_null()) result["choices"].push_back(std::move(choice));
    return result;
}

Json Replies::opening(std::size_t choice) const {
    return chunk({{"index", choice},
                  {"delta", {{"role", "assistant"}, {"content", ""}}},
                  {"logprobs", nullptr},
                  {"finish_reason", nullptr}});
}

Json Replies::piece(std::size_t choice, const std::string& text, Json logprobs) const {
    Json result = {{"index", choice}};
    if (chat_)
        result["delta"] = {{"content", text}};
    else
        result["text"] = text;
    result["logprobs"] = std::move(logprobs);
    result["finish_reason"] = nullptr;
    return chunk(std::move(result));
}

Json Replies::closing(std::size_t choice, const char* finish_reason, Json the_timings) const {
    Json result = {{"index", choice}};
    if (chat_)
        result["delta"] = Json::object();
    else
        result["text"] = "";
    result["logprobs"] = nullptr;
    result["finish_reason"] = finish_reason;
    Json last = chunk(std::move(result));
    last["timings"] = std::move(the_timings);
    return last;
}

Json Replies::usage(const Usage& usage) const {
    Json result = chunk(nullptr);
    result["usage"] = usage.json();
    return result;
}

}  // namespace vigil::serve
