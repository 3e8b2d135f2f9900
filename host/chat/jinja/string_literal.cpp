#include "host/chat/jinja/string_literal.h"

#include <charconv>
#include <fmt/format.h>

#include "host/chat/jinja/error.h"
#include "host/tokenizer/utf8.h"

namespace vigil::jinja {
namespace {

// The value of `count` digits at `offset`, or -1.
long digits_at(std::string_view body, std::size_t offset, std::size_t count, int base) {
    if (offset + count > body.size()) return -1;
    long value = 0;
    const char* const begin = body.data() + offset;
    const auto [end, error] = std::from_chars(begin, begin + count, value, base);
    return error == std::errc() && end == begin + count && *begin != '-' ? value : -1;
}

void append_code_point(std::string& out, long value) {
    if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
        throw Error("a string literal has a \\x, \\u or \\U escape that names no character");
    }
    utf8::append(out, static_cast<char32_t>(value));
}

}  // namespace

std::string unescape(std::string_view body) {
    constexpr std::string_view letters = "\\'\"abfnrtv";
    constexpr std::string_view meanings = "\\'\"\a\b\f\n\r\t\v";
    std::string out;
    out.reserve(body.size());
    for (std::size_t i = 0; i < body.size(); ++i) {
        if (body[i] != '\\' || i + 1 == body.size()) {
            out += body[i];
            continue;
        }
        const char c = body[++i];
        if (const std::size_t known = letters.find(c); known != std::string_view::npos) {
            out += meanings[known];
        } else if (c == '\n') {
            // An escaped line break joins two lines.
        } else if (c == 'x' || c == 'u' || c == 'U') {
            const std::size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
            append_code_point(out, digits_at(body, i + 1, count, 16));
            i += count;
        } else if (c >= '0' && c <= '7') {
            std::size_t count = 1;
            while (count < 3 && i + count < body.size() && body[i + count] >= '0' && body[i + count] <= '7') ++count;
            append_code_point(out, digits_at(body, i, count, 8));
            i += count - 1;
        } else if (c == 'N') {
            throw Error("the string escape \\N{...} is not supported");
        } else {
            out += '\\';
            out += c;
        }
    }
    return out;
}

}  // namespace vigil::jinja
