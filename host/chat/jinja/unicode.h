// Code points as Python's str sees them. Every string here is valid UTF-8: what comes in is checked or repaired first.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vigil::jinja::unicode {

struct CodePoint {
    char32_t value;
    std::size_t length;  // bytes
};
// The code point that starts at `offset`, and the one that ends there.
CodePoint at(std::string_view text, std::size_t offset) noexcept;
CodePoint before(std::string_view text, std::size_t offset) noexcept;

std::size_t count(std::string_view text) noexcept;
// Byte offset of the code point `index`; the size of `text` if there are fewer.
std::size_t offset_of(std::string_view text, std::size_t index) noexcept;

bool is_space(char32_t c) noexcept;       // str.isspace
bool is_printable(char32_t c) noexcept;   // str.isprintable
bool is_line_break(char32_t c) noexcept;  // where str.splitlines cuts
bool is_alpha(char32_t c) noexcept;
bool is_decimal(char32_t c) noexcept;  // a digit that int() reads; its value is decimal_value
int decimal_value(char32_t c) noexcept;
bool is_upper(char32_t c) noexcept;
bool is_lower(char32_t c) noexcept;
bool is_title(char32_t c) noexcept;
bool is_identifier_start(char32_t c) noexcept;
bool is_identifier_part(char32_t c) noexcept;

// Full case mappings: one code point may become up to three.
void append_upper(std::string& out, char32_t c);
void append_lower(std::string& out, char32_t c);
void append_title(std::string& out, char32_t c);

}  // namespace vigil::jinja::unicode
