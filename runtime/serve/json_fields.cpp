#include "runtime/serve/json_fields.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "runtime/serve/api_error.h"

namespace vigil::serve {
namespace {

constexpr std::size_t kShown = 60;

[[noreturn]] void out_of_range(const std::string& name, const InputJson& value, const std::string& range) {
    throw invalid_request(fmt::format("{} is {}: it must be {}", name, shown(value), range), name, "invalid_value");
}

}  // namespace

InputJson parse_object(std::string_view body, const Limits& limits) {
    std::size_t values = 0;
    const auto within_limits = [&](int depth, InputJson::parse_event_t, InputJson&) {
        if (static_cast<std::size_t>(depth) > limits.json_depth)
            throw invalid_request(fmt::format("the JSON is nested more than {} deep", limits.json_depth), {},
                                  "json_too_deep");
        if (++values > 2 * limits.json_values)  // begin and end of arrays and objects are told apart
            throw invalid_request(fmt::format("the JSON has more than {} values", limits.json_values), {},
                                  "json_too_large");
        return true;
    };
    // A value takes a byte or more, and a level its bracket: most bodies need no counting of values.
    const auto opens = [](char c) { return c == '[' || c == '{'; };
    const bool fits = body.size() <= limits.json_values &&
                      static_cast<std::size_t>(std::count_if(body.begin(), body.end(), opens)) <= limits.json_depth;
    InputJson document;
    try {
        document = fits ? InputJson::parse(body.begin(), body.end())
                        : InputJson::parse(body.begin(), body.end(), within_limits);
    } catch (const InputJson::parse_error& error) {
        throw invalid_request(fmt::format("the body is no valid JSON at byte {}: {}", error.byte, error.what()), {},
                              "invalid_json");
    } catch (const InputJson::exception& error) {
        throw invalid_request(fmt::format("the body is no valid JSON: {}", error.what()), {}, "invalid_json");
    }
    if (!document.is_object())
        throw invalid_request(fmt::format("the body is {}, not an object", shown(document)), {}, "invalid_json");
    return document;
}

std::string shown(const InputJson& value) {
    if (value.is_object()) return "an object";
    if (value.is_array()) return fmt::format("an array of {}", value.size());
    if (value.is_string() && value.get_ref<const std::string&>().size() > kShown)
        return fmt::format("a text of {} bytes", value.get_ref<const std::string&>().size());
    return value.dump(-1, ' ', true, InputJson::error_handler_t::replace);
}

const InputJson* Fields::find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Fields::wrong_type(const char* name, const InputJson& value, const char* expected) const {
    throw invalid_request(fmt::format("{} is {}: it must be {}", path(name), shown(value), expected), path(name),
                          "invalid_type");
}

std::optional<bool> Fields::boolean(const char* name) const {
    const InputJson* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_boolean()) wrong_type(name, *value, "true or false");
    return value->get<bool>();
}

std::optional<std::string> Fields::text(const char* name) const {
    const InputJson* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string()) wrong_type(name, *value, "a text");
    return value->get<std::string>();
}

std::optional<std::int64_t> Fields::integer(const char* name, std::int64_t least, std::int64_t most) const {
    const InputJson* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer()) wrong_type(name, *value, "an integer");
    const bool too_large =
        value->is_number_unsigned() &&
        value->get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const std::int64_t number = too_large ? std::numeric_limits<std::int64_t>::max() : value->get<std::int64_t>();
    if (too_large || number < least || number > most)
        out_of_range(path(name), *value, fmt::format("an integer from {} to {}", least, most));
    return number;
}

std::optional<double> Fields::number(const char* name, double least, double most) const {
    const InputJson* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number()) wrong_type(name, *value, "a number");
    const double number = value->get<double>();
    if (!(number >= least && number <= most))
        out_of_range(path(name), *value, fmt::format("a number from {} to {}", least, most));
    return number;
}

std::optional<std::uint64_t> Fields::seed(const char* name) const {
    const InputJson* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer()) wrong_type(name, *value, "an integer");
    if (value->is_number_unsigned()) return value->get<std::uint64_t>();
    if (value->get<std::int64_t>() == -1) return std::nullopt;
    if (value->get<std::int64_t>() < 0)
        out_of_range(path(name), *value, "an integer from 0 to 2^64 - 1, or -1 for a random one");
    return static_cast<std::uint64_t>(value->get<std::int64_t>());
}

}  // namespace vigil::serve
