// Chat templates that vigil brings along, for files without one or with one that cannot be rendered.
#pragma once

#include <span>
#include <string_view>

namespace vigil {

struct BuiltinTemplate {
    std::string_view name;
    std::string_view source;  // Jinja
};

std::span<const BuiltinTemplate> builtin_templates() noexcept;

}  // namespace vigil
