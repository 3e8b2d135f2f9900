#include "host/tokenizer/byte_alphabet.h"

#include <array>

#include "host/tokenizer/utf8.h"

namespace vigil::byte_alphabet {
namespace {

constexpr std::size_t first_shifted = 0x100;
constexpr std::size_t shifted_count = 68;

struct Tables {
    std::array<std::string, 256> spelling;                           // byte → its character
    std::array<std::int16_t, first_shifted + shifted_count> byte{};  // code point → byte, -1 for none

    Tables() {
        byte.fill(-1);
        std::size_t shifted = first_shifted;
        for (std::size_t b = 0; b < 256; ++b) {
            const bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            const std::size_t code_point = prints ? b : shifted++;
            utf8::append(spelling[b], static_cast<char32_t>(code_point));
            byte[code_point] = static_cast<std::int16_t>(b);
        }
    }
};

const Tables& tables() {
    static const Tables instance;
    return instance;
}

}  // namespace

std::string_view spell(std::uint8_t byte) {
    return tables().spelling[byte];
}

std::optional<std::string> read(std::string_view text) {
    const auto& bytes = tables().byte;
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        // Every character of the alphabet is below U+0144, so it takes one byte or two.
        const auto lead = static_cast<unsigned char>(text[i]);
        std::size_t code_point = lead;
        std::size_t length = 1;
        if (lead >= 0x80) {
            if (lead < 0xC2 || lead > 0xDF || i + 1 == text.size()) return std::nullopt;
            code_point = (lead & 0x1FU) << 6 | (static_cast<unsigned char>(text[i + 1]) & 0x3FU);
            length = 2;
        }
        if (code_point >= bytes.size() || bytes[code_point] < 0) return std::nullopt;
        out += static_cast<char>(bytes[code_point]);
        i += length;
    }
    return out;
}

}  // namespace vigil::byte_alphabet
