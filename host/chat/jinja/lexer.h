// Cutting a template into its text and the tokens of its tags.
//
// Source: Jinja's lexer as transformers sets it up: {{ }}, {% %}, {# #}, trim_blocks and lstrip_blocks on, no line
// statements, the last newline of the template dropped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vigil::jinja {

struct Lexeme {
    enum class Kind : std::uint8_t {
        data,
        variable_begin,
        variable_end,
        block_begin,
        block_end,
        name,
        string,
        integer,
        floating,
        symbol,  // an operator or a bracket
        end,
    };
    Kind kind = Kind::end;
    std::string text;  // data and string: unescaped; integer and floating: without underscores
    int line = 0;      // 1-based

    bool is(Kind k, std::string_view t) const noexcept { return kind == k && text == t; }
    bool is_name(std::string_view t) const noexcept { return is(Kind::name, t); }
    bool is_symbol(std::string_view t) const noexcept { return is(Kind::symbol, t); }
};

inline constexpr std::size_t longest_template = 1 << 20;  // bytes

// The lexemes of `source`, the last one of kind `end`. Throws Error with a line.
std::vector<Lexeme> tokenize(std::string_view source);

// How an error message names a lexeme.
std::string describe(const Lexeme& lexeme);

}  // namespace vigil::jinja
