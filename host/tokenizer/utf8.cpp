#include "host/tokenizer/utf8.h"

namespace vigil::utf8 {
namespace {

// What may follow a lead byte: the number of continuation bytes and the range of the first of them, which is narrower
// than 80…BF where it keeps out overlong forms, surrogates and code points above U+10FFFF (RFC 3629, section 4).
struct Lead {
    std::size_t continuations;
    unsigned char first_low;
    unsigned char first_high;
};

Lead lead_of(unsigned char byte) noexcept {
    if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
    if (byte == 0xE0) return {2, 0xA0, 0xBF};
    if (byte == 0xED) return {2, 0x80, 0x9F};
    if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
    if (byte == 0xF0) return {3, 0x90, 0xBF};
    if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
    if (byte == 0xF4) return {3, 0x80, 0x8F};
    return {0, 0, 0};
}

}  // namespace

Unit next(std::string_view bytes) noexcept {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    if (at(0) < 0x80) return {Kind::valid, 1};
    const Lead lead = lead_of(at(0));
    if (lead.continuations == 0) return {Kind::invalid, 1};
    for (std::size_t i = 1; i <= lead.continuations; ++i) {
        if (i == bytes.size()) return {Kind::incomplete, i};
        const unsigned char low = i == 1 ? lead.first_low : 0x80;
        const unsigned char high = i == 1 ? lead.first_high : 0xBF;
        if (at(i) < low || at(i) > high) return {Kind::invalid, i};
    }
    return {Kind::valid, lead.continuations + 1};
}

bool is_valid(std::string_view bytes) noexcept {
    while (!bytes.empty()) {
        const Unit unit = next(bytes);
        if (unit.kind != Kind::valid) return false;
        bytes.remove_prefix(unit.length);
    }
    return true;
}

std::string replace_invalid_bytes(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size());
    while (!bytes.empty()) {
        const Unit unit = next(bytes);
        if (unit.kind == Kind::valid) {
            out += bytes.substr(0, unit.length);
        } else {
            for (std::size_t i = 0; i < unit.length; ++i) out += replacement;
        }
        bytes.remove_prefix(unit.length);
    }
    return out;
}

void append(std::string& out, char32_t code_point) {
    const auto push = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
    if (code_point < 0x80) {
        push(code_point);
    } else if (code_point < 0x800) {
        push(0xC0 | (code_point >> 6));
        push(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x10000) {
        push(0xE0 | (code_point >> 12));
        push(0x80 | ((code_point >> 6) & 0x3F));
        push(0x80 | (code_point & 0x3F));
    } else {
        push(0xF0 | (code_point >> 18));
        push(0x80 | ((code_point >> 12) & 0x3F));
        push(0x80 | ((code_point >> 6) & 0x3F));
        push(0x80 | (code_point & 0x3F));
    }
}

}  // namespace vigil::utf8
