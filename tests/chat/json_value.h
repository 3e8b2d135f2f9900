// JSON as a template's variables: what a server would hand in.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "host/chat/jinja/value.h"

namespace vigil::test {

using Json = nlohmann::ordered_json;

// Strings become data if `is_data`.
inline jinja::Value to_value(const Json& json, bool is_data) {
    switch (json.type()) {
        case Json::value_t::object: {
            jinja::Dict dict;
            for (const auto& [key, value] : json.items()) {
                dict.set(jinja::make_text(key, is_data), to_value(value, is_data));
            }
            return dict;
        }
        case Json::value_t::array: {
            std::vector<jinja::Value> items;
            for (const Json& item : json) items.push_back(to_value(item, is_data));
            return jinja::List(std::move(items));
        }
        case Json::value_t::string:
            return jinja::make_text(json.get<std::string>(), is_data);
        case Json::value_t::boolean:
            return json.get<bool>();
        case Json::value_t::number_integer:
        case Json::value_t::number_unsigned:
            return json.get<std::int64_t>();
        case Json::value_t::number_float:
            return json.get<double>();
        default:
            return jinja::None{};
    }
}

// An object's members as variables; `messages`, `tools` and `documents` are data, the rest is the template's side.
inline jinja::Dict to_variables(const Json& json) {
    jinja::Dict variables;
    for (const auto& [key, value] : json.items()) {
        variables.put(key, to_value(value, key == "messages" || key == "tools" || key == "documents"));
    }
    return variables;
}

inline std::string read_text(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace vigil::test
