#include "host/chat/jinja/numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <string>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/unicode.h"

namespace vigil::jinja {
namespace {

// Without white space around it, every decimal digit in ASCII, and without the underscores between digits. Nothing if
// an underscore stands elsewhere.
std::optional<std::string> plain(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const unicode::CodePoint c = unicode::at(text, at);
        if (unicode::is_decimal(c.value)) {
            out += static_cast<char>('0' + unicode::decimal_value(c.value));
        } else if (unicode::is_space(c.value)) {
            out += ' ';
        } else {
            out += text.substr(at, c.length);
        }
        at += c.length;
    }
    while (out.starts_with(' '))
        out.erase(0, out.find_first_not_of(' ') == std::string::npos ? out.size() : out.find_first_not_of(' '));
    while (out.ends_with(' ')) out.pop_back();
    const auto is_alphanumeric = [&](std::size_t i) {
        return i < out.size() &&
               ((out[i] >= '0' && out[i] <= '9') || ((out[i] | 0x20) >= 'a' && (out[i] | 0x20) <= 'z'));
    };
    for (std::size_t i = 0; i < out.size(); ++i) {
        if (out[i] == '_' && !(i > 0 && is_alphanumeric(i - 1) && is_alphanumeric(i + 1))) return std::nullopt;
    }
    std::erase(out, '_');
    return out;
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text, int base) {
    const std::optional<std::string> cleaned = plain(text);
    if (!cleaned || (base != 0 && (base < 2 || base > 36))) return std::nullopt;
    std::string_view digits = *cleaned;
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+')) digits.remove_prefix(1);
    const auto has_prefix = [&](char letter, int prefix_base) {
        if ((base != 0 && base != prefix_base) || digits.size() < 3) return false;
        return digits[0] == '0' && (digits[1] | 0x20) == letter;
    };
    int radix = base == 0 ? 10 : base;
    if (has_prefix('x', 16)) radix = 16;
    if (has_prefix('o', 8)) radix = 8;
    if (has_prefix('b', 2)) radix = 2;
    if (has_prefix('x', 16) || has_prefix('o', 8) || has_prefix('b', 2)) digits.remove_prefix(2);
    if (digits.empty() || digits[0] == '-') return std::nullopt;
    std::int64_t value = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, radix);
    if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
    if (error != std::errc()) throw Error("an integer does not fit into 64 bits");
    return negative ? -value : value;
}

std::optional<double> parse_float(std::string_view text) {
    const std::optional<std::string> cleaned = plain(text);
    if (!cleaned) return std::nullopt;
    std::string_view digits = *cleaned;
    const bool negative = digits.starts_with('-');
    if (negative || digits.starts_with('+')) digits.remove_prefix(1);
    if (digits.empty() || digits[0] == '-' || digits[0] == '+') return std::nullopt;
    std::string lowered(digits);
    std::ranges::transform(lowered, lowered.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    double value = 0;
    if (lowered == "inf" || lowered == "infinity") {
        value = HUGE_VAL;
    } else if (lowered == "nan") {
        value = std::nan("");
    } else {
        if (lowered.find_first_not_of("0123456789.e+-") != std::string::npos) return std::nullopt;
        const char* const end = lowered.data() + lowered.size();
        const auto [stop, error] = std::from_chars(lowered.data(), end, value);
        if (stop != end || error == std::errc::invalid_argument) return std::nullopt;
        // Too large or too small: strtod says which, where from_chars only says that it is so.
        if (error != std::errc()) value = std::strtod(lowered.c_str(), nullptr);
    }
    return negative ? -value : value;
}

double round_half_even(double value, int digits) {
    if (!std::isfinite(value)) return value;
    if (digits < 0) {
        const double scale = std::pow(10.0, -digits);
        return std::nearbyint(value / scale) * scale;
    }
    // Through the correctly rounded decimal form, as Python does.
    return std::strtod(fmt::format("{:.{}f}", value, digits).c_str(), nullptr);
}

}  // namespace vigil::jinja
