#include "runtime/serve/parameters.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <limits>
#include <random>
#include <string_view>

#include "runtime/serve/api_error.h"

namespace vigil::serve {
namespace {

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kMaxStops = 4;
constexpr std::size_t kMaxPrompts = 64;
constexpr std::size_t kMaxMessages = 4096;
constexpr std::int32_t kCompletionTokens = 16;  // OpenAI's default
constexpr std::int32_t kMaxCompletionLogprobs = 20;
constexpr double kMaxTemperature = 2;  // as OpenAI has it, like the next
constexpr double kMaxPenalty = 2;
constexpr double kMaxRepeatPenalty = 1000;
constexpr double kLeastRepeatPenalty = 0.001;

// What both endpoints know.
constexpr std::array kCommon = {
    "model",          "stream",        "stream_options", "max_tokens",       "temperature",       "top_p", "top_k",
    "min_p",          "seed",          "stop",           "presence_penalty", "frequency_penalty", "n",     "logit_bias",
    "repeat_penalty", "repeat_last_n", "ignore_eos",     "logprobs",         "timings_per_token", "user"};
constexpr std::array kChatOnly = {"messages", "max_completion_tokens", "top_logprobs"};
constexpr std::array kCompletionOnly = {"prompt", "echo", "best_of", "suffix"};

// Fields of OpenAI's that change nothing here: hints about billing, storage and caching, and wishes to models that
// think.
constexpr std::array kIgnored = {"metadata",
                                 "store",
                                 "service_tier",
                                 "safety_identifier",
                                 "prompt_cache_key",
                                 "prompt_cache_retention",
                                 "parallel_tool_calls",
                                 "reasoning_effort",
                                 "verbosity"};
// Fields of OpenAI's that ask for what is not here. They may say that it is not wanted.
constexpr std::array kUnsupported = {"tools", "tool_choice", "functions",          "function_call", "response_format",
                                     "audio", "modalities",  "web_search_options", "prediction",    "moderation"};

template <class Names>
bool has(const Names& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether the value of an unsupported field asks for nothing.
bool asks_for_nothing(const std::string& name, const InputJson& value) {
    if (value.is_null()) return true;
    if (name == "tools" || name == "functions") return value.is_array() && value.empty();
    if (name == "tool_choice" || name == "function_call") return value == "none" || value == "auto";
    if (name == "modalities") return value == InputJson::array({"text"});
    if (name == "response_format") return value == InputJson{{"type", "text"}};
    return false;
}

template <class Own>
void check_names(const InputJson& body, const Own& own) {
    for (const auto& [name, value] : body.items()) {
        if (has(kCommon, name) || has(own, name) || has(kIgnored, name)) continue;
        if (!has(kUnsupported, name))
            throw invalid_request(fmt::format("there is no field {}", shown(name)), name.substr(0, 100),
                                  "unknown_field");
        if (!asks_for_nothing(name, value))
            throw invalid_request(fmt::format("{} is not supported", name), name, "unsupported_field");
    }
}

void check_refused(const Fields& fields) {
    if (fields.integer("n", 1, 128).value_or(1) != 1)
        throw invalid_request("n must be 1: one answer is decoded at a time", "n", "unsupported_value");
    if (const InputJson* bias = fields.find("logit_bias")) {
        if (!bias->is_object()) fields.wrong_type("logit_bias", *bias, "an object");
        if (!bias->empty()) throw invalid_request("logit_bias is not supported", "logit_bias", "unsupported_field");
    }
}

// Of 32 bits, as `vigil run` has it. The device is kept: what it asks the processor when it is made takes 10 us and
// more in a virtual machine, where the host answers.
std::uint64_t random_seed() {
    static thread_local std::random_device device;
    return device();
}

SamplingParams read_sampling(const Fields& fields) {
    SamplingParams p;
    const auto take = [&](float& value, const char* name, double least, double most) {
        if (const auto given = fields.number(name, least, most)) value = static_cast<float>(*given);
    };
    take(p.temperature, "temperature", 0, kMaxTemperature);
    take(p.top_p, "top_p", 0, 1);
    take(p.min_p, "min_p", 0, 1);
    take(p.repeat_penalty, "repeat_penalty", kLeastRepeatPenalty, kMaxRepeatPenalty);
    take(p.presence_penalty, "presence_penalty", -kMaxPenalty, kMaxPenalty);
    take(p.frequency_penalty, "frequency_penalty", -kMaxPenalty, kMaxPenalty);
    p.top_k = static_cast<std::int32_t>(fields.integer("top_k", 0, kMaxInt).value_or(p.top_k));
    p.penalty_last_n =
        static_cast<std::int32_t>(fields.integer("repeat_last_n", -1, kMaxInt).value_or(p.penalty_last_n));
    const auto seed = fields.seed("seed");
    p.seed = seed ? *seed : random_seed();
    return p;
}

std::vector<std::string> read_stop(const Fields& fields) {
    const InputJson* value = fields.find("stop");
    if (value == nullptr) return {};
    const InputJson list = value->is_array() ? *value : InputJson::array({*value});
    if (list.size() > kMaxStops)
        throw invalid_request(fmt::format("stop has {} texts: at most {} are taken", list.size(), kMaxStops), "stop",
                              "invalid_value");
    std::vector<std::string> stop;
    for (const InputJson& text : list) {
        if (!text.is_string()) fields.wrong_type("stop", text, "a text or an array of up to four");
        if (text.get_ref<const std::string&>().empty())
            throw invalid_request("stop has an empty text", "stop", "invalid_value");
        stop.push_back(text.get<std::string>());
    }
    return stop;
}

void read_stream(const Fields& fields, Parameters& p) {
    p.stream = fields.boolean("stream").value_or(false);
    const InputJson* options = fields.find("stream_options");
    if (options == nullptr) return;
    if (!options->is_object()) fields.wrong_type("stream_options", *options, "an object");
    if (!p.stream) throw invalid_request("stream_options is only for stream: true", "stream_options", "invalid_value");
    const Fields inner(*options, "stream_options.");
    for (const auto& [name, value] : options->items())
        if (name != "include_usage" && name != "include_obfuscation")
            throw invalid_request(fmt::format("there is no field stream_options.{}", shown(name)), "stream_options",
                                  "unknown_field");
    p.include_usage = inner.boolean("include_usage").value_or(false);
    static_cast<void>(inner.boolean("include_obfuscation"));  // a padding against observers, which is not added
}

void read_common(const Fields& fields, Parameters& p) {
    static_cast<void>(fields.text("model"));  // there is one
    static_cast<void>(fields.text("user"));
    check_refused(fields);
    p.sampling = read_sampling(fields);
    p.stop = read_stop(fields);
    p.ignore_eos = fields.boolean("ignore_eos").value_or(false);
    p.timings_per_token = fields.boolean("timings_per_token").value_or(false);
    read_stream(fields, p);
}

std::optional<std::int32_t> read_max_tokens(const Fields& fields, const char* name, std::int64_t least) {
    const auto value = fields.integer(name, least, kMaxInt);
    if (!value) return std::nullopt;
    return static_cast<std::int32_t>(*value);
}

// A text, or an array of parts {"type": "text", "text": …}.
std::string read_content(const Fields& message) {
    const InputJson* content = message.find("content");
    const std::string path = message.path("content");
    if (content == nullptr) throw invalid_request(fmt::format("{} is missing", path), path, "missing_field");
    if (content->is_string()) return content->get<std::string>();
    if (!content->is_array()) message.wrong_type("content", *content, "a text or an array of text parts");
    std::string text;
    for (std::size_t i = 0; i < content->size(); ++i) {
        const InputJson& part = (*content)[i];
        const std::string place = fmt::format("{}[{}]", path, i);
        if (!part.is_object())
            throw invalid_request(fmt::format("{} is {}: it must be an object", place, shown(part)), place,
                                  "invalid_type");
        const Fields fields(part, place + ".");
        const auto type = fields.text("type");
        if (type != "text")
            throw invalid_request(
                fmt::format("{} has the type {}: only 'text' is supported", place, type ? shown(*type) : "null"),
                place + ".type", "unsupported_value");
        const auto piece = fields.text("text");
        if (!piece) throw invalid_request(fmt::format("{}.text is missing", place), place + ".text", "missing_field");
        text += *piece;
    }
    return text;
}

std::vector<ChatMessage> read_messages(const Fields& fields) {
    static constexpr std::array roles = {"system", "developer", "user", "assistant", "tool"};
    const InputJson* list = fields.find("messages");
    if (list == nullptr) throw invalid_request("messages is missing", "messages", "missing_field");
    if (!list->is_array()) fields.wrong_type("messages", *list, "an array");
    if (list->empty()) throw invalid_request("messages is empty", "messages", "invalid_value");
    if (list->size() > kMaxMessages)
        throw invalid_request(fmt::format("messages has {} entries: at most {} are taken", list->size(), kMaxMessages),
                              "messages", "invalid_value");
    std::vector<ChatMessage> messages;
    for (std::size_t i = 0; i < list->size(); ++i) {
        const std::string place = fmt::format("messages[{}]", i);
        if (!(*list)[i].is_object())
            throw invalid_request(fmt::format("{} is {}: it must be an object", place, shown((*list)[i])), place,
                                  "invalid_type");
        const Fields message((*list)[i], place + ".");
        auto role = message.text("role");
        if (!role) throw invalid_request(place + ".role is missing", place + ".role", "missing_field");
        if (!has(roles, *role))
            throw invalid_request(
                fmt::format("{}.role is {}: it must be one of {}", place, shown(*role), fmt::join(roles, ", ")),
                place + ".role", "invalid_value");
        // OpenAI's newer name of the same role; templates know the older.
        if (*role == "developer") role = "system";
        static_cast<void>(message.text("name"));
        for (const char* calls : {"tool_calls", "function_call"})
            if (const InputJson* value = message.find(calls); value != nullptr && !value->empty())
                throw invalid_request(fmt::format("{}.{} is not supported", place, calls), message.path(calls),
                                      "unsupported_field");
        messages.push_back({*role, read_content(message)});
    }
    return messages;
}

std::vector<Prompt> read_prompts(const Fields& fields) {
    const InputJson* value = fields.find("prompt");
    if (value == nullptr) throw invalid_request("prompt is missing", "prompt", "missing_field");
    if (value->is_string()) return {value->get<std::string>()};
    if (!value->is_array()) fields.wrong_type("prompt", *value, "a text, token ids, or an array of these");
    if (value->empty()) throw invalid_request("prompt is empty", "prompt", "invalid_value");
    if (value->front().is_number()) return {read_tokens(*value, "prompt")};
    if (value->size() > kMaxPrompts)
        throw invalid_request(fmt::format("prompt has {} entries: at most {} are taken", value->size(), kMaxPrompts),
                              "prompt", "invalid_value");
    std::vector<Prompt> prompts;
    for (std::size_t i = 0; i < value->size(); ++i) {
        const InputJson& one = (*value)[i];
        if (one.is_string())
            prompts.emplace_back(one.get<std::string>());
        else if (one.is_array())
            prompts.emplace_back(read_tokens(one, fmt::format("prompt[{}]", i)));
        else
            fields.wrong_type("prompt", one, "a text, token ids, or an array of these");
    }
    return prompts;
}

}  // namespace

std::vector<Token> read_tokens(const InputJson& value, const std::string& name) {
    if (!value.is_array())
        throw invalid_request(fmt::format("{} is {}: it must be an array of token ids", name, shown(value)), name,
                              "invalid_type");
    std::vector<Token> tokens;
    tokens.reserve(value.size());
    for (std::size_t i = 0; i < value.size(); ++i) {
        const InputJson& id = value[i];
        if (!id.is_number_integer())
            throw invalid_request(fmt::format("{}[{}] is {}: it must be a token id", name, i, shown(id)), name,
                                  "invalid_type");
        const bool fits = id.is_number_unsigned() && id.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxInt);
        if (!fits)
            throw invalid_request(fmt::format("{}[{}] is {}: no token has this id", name, i, shown(id)), name,
                                  "invalid_value");
        tokens.push_back(id.get<Token>());
    }
    return tokens;
}

Parameters chat_parameters(const InputJson& body) {
    check_names(body, kChatOnly);
    const Fields fields(body);
    Parameters p;
    p.chat = true;
    read_common(fields, p);
    p.messages = read_messages(fields);
    p.max_tokens = read_max_tokens(fields, "max_completion_tokens", 1);
    if (const auto older = read_max_tokens(fields, "max_tokens", 1); !p.max_tokens) p.max_tokens = older;
    const bool logprobs = fields.boolean("logprobs").value_or(false);
    const auto top = fields.integer("top_logprobs", 0, kMaxTopLogprobs);
    if (top && !logprobs)
        throw invalid_request("top_logprobs is only for logprobs: true", "top_logprobs", "invalid_value");
    if (logprobs) p.top_logprobs = static_cast<std::int32_t>(top.value_or(0));
    return p;
}

Parameters completion_parameters(const InputJson& body) {
    check_names(body, kCompletionOnly);
    const Fields fields(body);
    Parameters p;
    read_common(fields, p);
    p.prompts = read_prompts(fields);
    p.max_tokens = read_max_tokens(fields, "max_tokens", 0).value_or(kCompletionTokens);
    p.echo = fields.boolean("echo").value_or(false);
    if (const auto top = fields.integer("logprobs", 0, kMaxCompletionLogprobs))
        p.top_logprobs = static_cast<std::int32_t>(*top);
    if (p.echo && p.top_logprobs)
        throw invalid_request("echo with logprobs is not supported: prompts are not scored", "echo",
                              "unsupported_value");
    if (fields.integer("best_of", 1, 128).value_or(1) != 1)
        throw invalid_request("best_of must be 1: one answer is decoded at a time", "best_of", "unsupported_value");
    if (!fields.text("suffix").value_or("").empty())
        throw invalid_request("suffix is not supported", "suffix", "unsupported_field");
    return p;
}

}  // namespace vigil::serve
