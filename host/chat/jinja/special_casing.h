// Unicode's case mappings to more than one code point, which utf8proc leaves out.
#pragma once

#include <string_view>

namespace vigil::jinja::unicode {

struct SpecialCasing {
    char32_t code_point;
    std::string_view upper, title;  // UTF-8
};

// nullptr for a code point whose upper and title case are single code points.
const SpecialCasing* find_special_casing(char32_t c) noexcept;

}  // namespace vigil::jinja::unicode
