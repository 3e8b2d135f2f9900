// UTF-8 as RFC 3629 defines it: finding sequences, and replacing what is none.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vigil::utf8 {

inline constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

enum class Kind {
    valid,       // one whole sequence
    incomplete,  // the input ends inside a sequence that more bytes could complete
    invalid,     // no continuation can make this a sequence
};

struct Unit {
    Kind kind;
    std::size_t length;  // bytes; for `invalid` the longest part that begins like a sequence, at least 1
};

// Classifies what `bytes` begins with. `bytes` must not be empty.
Unit next(std::string_view bytes) noexcept;

bool is_valid(std::string_view bytes) noexcept;

// `bytes` with U+FFFD in place of every single byte that belongs to no sequence.
std::string replace_invalid_bytes(std::string_view bytes);

void append(std::string& out, char32_t code_point);

}  // namespace vigil::utf8
