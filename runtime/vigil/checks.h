// Checks of single values on the command line. Their messages name the value; CLI11 puts the flag before them.
#pragma once

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

namespace vigil::program {

// `text` as a whole is one number; "nan", "12x" and what does not fit T are none.
template <class T>
bool parse_number(const std::string& text, T& value) {
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if constexpr (std::is_floating_point_v<T>)
        if (std::isnan(value)) return false;
    return error == std::errc() && stopped == end;
}

// A number in [least, most].
template <class T>
CLI::Validator number_in(T least, T most) {
    const std::string range = fmt::format("{} to {}", least, most);
    return {[=](const std::string& text) {
                T value{};
                if (parse_number(text, value) && value >= least && value <= most) return std::string();
                return fmt::format("expected a number from {}, not '{}'", range, text);
            },
            range};
}

// An integer that is at least `least` and fits 32 bits.
inline CLI::Validator integer_from(int least) {
    return {[=](const std::string& text) {
                int value = 0;
                if (parse_number(text, value) && value >= least) return std::string();
                return fmt::format("expected an integer from {}, not '{}'", least, text);
            },
            fmt::format("{} or more", least)};
}

inline CLI::Validator one_of(const std::vector<std::string>& names) {
    const std::string list = fmt::format("{}", fmt::join(names, ", "));
    return {[=](const std::string& text) {
                for (const std::string& name : names)
                    if (text == name) return std::string();
                return fmt::format("expected one of {}, not '{}'", list, text);
            },
            list};
}

inline CLI::Validator not_empty() {
    return {[](const std::string& text) { return text.empty() ? std::string("the text is empty") : std::string(); },
            ""};
}

}  // namespace vigil::program
