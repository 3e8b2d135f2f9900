#include "host/chat/jinja/arguments.h"

#include <algorithm>
#include <fmt/format.h>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/operations.h"

namespace vigil::jinja {

Bound::Bound(std::string_view function, const Arguments& arguments, std::initializer_list<std::string_view> parameters,
             std::size_t required)
    : function_(function), names_(parameters), values_(parameters.size(), nullptr) {
    if (arguments.positional.size() > names_.size()) {
        throw Error(
            fmt::format("{} takes at most {} arguments, got {}", function, names_.size(), arguments.positional.size()));
    }
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
    for (const auto& [name, value] : arguments.named) {
        const auto place = std::ranges::find(names_, name);
        if (place == names_.end()) throw Error(fmt::format("{} has no parameter '{}'", function, name));
        const Value*& slot = values_[static_cast<std::size_t>(place - names_.begin())];
        if (slot) throw Error(fmt::format("{} got its parameter '{}' twice", function, name));
        slot = &value;
    }
    for (std::size_t i = 0; i < required; ++i) {
        if (!values_[i]) throw Error(fmt::format("{} needs its parameter '{}'", function, names_[i]));
    }
}

bool Bound::truth(std::size_t parameter, bool fallback) const {
    return values_[parameter] ? truthy(*values_[parameter]) : fallback;
}

std::int64_t Bound::integer(std::size_t parameter, std::int64_t fallback) const {
    const Value* value = values_[parameter];
    if (!value) return fallback;
    if (const auto i = as_integer(*value)) return *i;
    if (value->is_undefined()) fail_undefined(*value);
    throw Error(fmt::format("{} needs an integer for '{}', got '{}'", function_, names_[parameter], type_name(*value)));
}

const Text& Bound::text(std::size_t parameter) const {
    const Value& value = *values_[parameter];
    if (const Text* text = value.text()) return *text;
    if (value.is_undefined()) fail_undefined(value);
    throw Error(fmt::format("{} needs a string for '{}', got '{}'", function_, names_[parameter], type_name(value)));
}

}  // namespace vigil::jinja
