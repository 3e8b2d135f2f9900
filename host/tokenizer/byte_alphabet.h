// The alphabet in which a byte-level BPE vocabulary is written: one printable character per byte value.
//
// Source: GPT-2's vocabulary. The bytes 21–7E, A1–AC and AE–FF stand for themselves as code points; the other 68, in
// rising order, are U+0100, U+0101, … (so a space is written Ġ, U+0120).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vigil::byte_alphabet {

// The character that stands for `byte`, as UTF-8.
std::string_view spell(std::uint8_t byte);

// The bytes that `text` spells, or nothing if it has a character outside the alphabet.
std::optional<std::string> read(std::string_view text);

}  // namespace vigil::byte_alphabet
