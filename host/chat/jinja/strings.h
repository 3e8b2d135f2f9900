// What Python's str methods do, on texts with provenance: the filters and the methods of the same name share these.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "host/chat/jinja/budget.h"
#include "host/chat/jinja/text.h"
#include "host/chat/jinja/value.h"

namespace vigil::jinja::strings {

enum class Side : std::uint8_t { left, right, both };

// Offset of the first `part` at or after `from`, or npos. Linear in time whatever the texts are.
std::size_t find(std::string_view text, std::string_view part, std::size_t from = 0) noexcept;

// Without the characters of `set`, or white space, at its ends.
Value strip(Budget& budget, const Text& text, Side side, const Text* set);
Value replace(Budget& budget, const Text& text, const Text& old, const Text& by, std::int64_t most);
// A list; without `separator` cut at runs of white space. `most` cuts at most, -1 for all, from the left or the right.
Value split(Budget& budget, const Text& text, const Text* separator, std::int64_t most, bool from_right);
std::vector<Text> split_lines(Budget& budget, const Text& text, bool keep_ends);
// (before, separator, after) around the first or the last separator.
Value partition(Budget& budget, const Text& text, const Text& separator, bool from_right);

Value upper(Budget& budget, const Text& text);
Value lower(Budget& budget, const Text& text);
Value capitalize(Budget& budget, const Text& text);
Value title(Budget& budget, const Text& text);         // str.title: every run of letters is a word
Value title_filter(Budget& budget, const Text& text);  // Jinja's |title: words begin behind spaces, '-' and brackets
Value swap_case(Budget& budget, const Text& text);

// Padded with `fill` to `width` code points.
Value justify(Budget& budget, const Text& text, std::int64_t width, const Text& fill, Side text_stands);

}  // namespace vigil::jinja::strings
