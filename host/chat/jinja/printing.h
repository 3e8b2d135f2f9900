// Values as text: Python's str() and repr(), and json.dumps as transformers' tojson calls it.
//
// Text from strings keeps its provenance; what is put around data (quotes, brackets, escapes) counts as data too, so
// that no special token can be pieced together from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "host/chat/jinja/budget.h"
#include "host/chat/jinja/text.h"
#include "host/chat/jinja/value.h"

namespace vigil::jinja {

// repr() of a float: the shortest digits that read back as the same number.
std::string float_repr(double value);

// str(): what {{ value }} prints.
void print(Budget& budget, Text& out, const Value& value);
Value to_text(Budget& budget, const Value& value);
// repr(): how a value shows inside a printed list.
void print_repr(Budget& budget, Text& out, const Value& value);

struct JsonStyle {
    std::optional<std::string> indent;  // one level's worth; without it everything stands on one line
    std::string item_separator = ", ", key_separator = ": ";
    bool ensure_ascii = false;
    bool sort_keys = false;
};
// Throws Error for what JSON cannot say, such as an undefined value.
void print_json(Budget& budget, Text& out, const Value& value, const JsonStyle& style);

}  // namespace vigil::jinja
