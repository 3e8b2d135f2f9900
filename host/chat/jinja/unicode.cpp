#include "host/chat/jinja/unicode.h"

#include <utf8proc.h>

#include "host/chat/jinja/special_casing.h"
#include "host/tokenizer/utf8.h"

namespace vigil::jinja::unicode {
namespace {

bool is_continuation(char byte) noexcept {
    return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

utf8proc_category_t category(char32_t c) noexcept {
    return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

}  // namespace

CodePoint at(std::string_view text, std::size_t offset) noexcept {
    const auto byte = [&](std::size_t i) {
        return static_cast<char32_t>(static_cast<unsigned char>(text[offset + i]));
    };
    const char32_t lead = byte(0);
    const std::size_t left = text.size() - offset;
    if (lead < 0x80 || left == 1) return {lead, 1};
    if (lead < 0xE0 || left == 2) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
    if (lead < 0xF0 || left == 3) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
    return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

CodePoint before(std::string_view text, std::size_t offset) noexcept {
    std::size_t start = offset - 1;
    while (start > 0 && is_continuation(text[start])) --start;
    return at(text, start);
}

std::size_t count(std::string_view text) noexcept {
    std::size_t n = 0;
    for (const char byte : text) n += is_continuation(byte) ? 0 : 1;
    return n;
}

std::size_t offset_of(std::string_view text, std::size_t index) noexcept {
    std::size_t offset = 0;
    while (index > 0 && offset < text.size()) {
        ++offset;
        while (offset < text.size() && is_continuation(text[offset])) ++offset;
        --index;
    }
    return offset;
}

bool is_space(char32_t c) noexcept {
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_break(char32_t c) noexcept {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_printable(char32_t c) noexcept {
    if (c == ' ') return true;
    switch (category(c)) {
        case UTF8PROC_CATEGORY_CN:
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CS:
        case UTF8PROC_CATEGORY_CO:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP:
        case UTF8PROC_CATEGORY_ZS:
            return false;
        default:
            return true;
    }
}

bool is_alpha(char32_t c) noexcept {
    const utf8proc_category_t kind = category(c);
    return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) noexcept {
    return category(c) == UTF8PROC_CATEGORY_ND;
}

int decimal_value(char32_t c) noexcept {
    if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
    // Decimal digits come in runs of ten that begin with zero; only the mathematical ones stand run by run.
    constexpr char32_t first_mathematical = 0x1D7CE, last_mathematical = 0x1D7FF;
    if (c >= first_mathematical && c <= last_mathematical) return static_cast<int>((c - first_mathematical) % 10);
    int value = 0;
    while (value < 9 && is_decimal(c - static_cast<char32_t>(value) - 1)) ++value;
    return value;
}

bool is_upper(char32_t c) noexcept {
    return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0;
}
bool is_lower(char32_t c) noexcept {
    return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0;
}
bool is_title(char32_t c) noexcept {
    return category(c) == UTF8PROC_CATEGORY_LT;
}

bool is_identifier_start(char32_t c) noexcept {
    if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return is_alpha(c) || category(c) == UTF8PROC_CATEGORY_NL;
}

bool is_identifier_part(char32_t c) noexcept {
    if (is_identifier_start(c) || (c >= '0' && c <= '9')) return true;
    if (c < 0x80) return false;
    const utf8proc_category_t kind = category(c);
    return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_ND ||
           kind == UTF8PROC_CATEGORY_PC;
}

void append_upper(std::string& out, char32_t c) {
    if (const SpecialCasing* special = find_special_casing(c)) {
        out += special->upper;
    } else {
        utf8::append(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
    }
}

void append_lower(std::string& out, char32_t c) {
    constexpr char32_t capital_i_with_dot = 0x130;
    if (c == capital_i_with_dot) {
        out += "i\xCC\x87";
    } else {
        utf8::append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
}

void append_title(std::string& out, char32_t c) {
    if (const SpecialCasing* special = find_special_casing(c)) {
        out += special->title;
    } else {
        utf8::append(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
    }
}

}  // namespace vigil::jinja::unicode
