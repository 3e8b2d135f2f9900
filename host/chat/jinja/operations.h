// Python's operators on values: truth, equality, order, arithmetic, membership, subscripts.
//
// Whatever walks values charges the budget for it. A wrong type is an Error that names operator and types.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "host/chat/jinja/ast.h"
#include "host/chat/jinja/budget.h"
#include "host/chat/jinja/value.h"

namespace vigil::jinja {

// bool, int: the integer; else nothing.
std::optional<std::int64_t> as_integer(const Value& value) noexcept;
// bool, int, float: the number; else nothing.
std::optional<double> as_number(const Value& value) noexcept;

bool truthy(const Value& value) noexcept;
bool equals(Budget& budget, const Value& a, const Value& b);
std::partial_ordering order(Budget& budget, std::string_view symbol, const Value& a, const Value& b);
bool compare(Budget& budget, ast::Compare::Operator op, const Value& a, const Value& b);
bool contains(Budget& budget, const Value& container, const Value& item);

Value arithmetic(Budget& budget, ast::Binary::Operator op, const Value& a, const Value& b);
Value negate(const Value& value);

// len(). Throws Error for what has no length.
std::int64_t length(Budget& budget, const Value& value);
// The elements that a for loop would see; reads an iterator to its end. Throws Error for what cannot be iterated.
std::vector<Value> elements(Budget& budget, const Value& value);
bool is_iterable(const Value& value) noexcept;

// value[start:stop:step]; None and Undefined stand for what was left out.
Value slice(Budget& budget, const Value& value, const Value& start, const Value& stop, const Value& step);
// value[index] of a sequence or string; nothing if it is out of range or no sequence.
std::optional<Value> element_at(Budget& budget, const Value& value, std::int64_t index);

// A text or list as a value, charged to the budget.
Value charged(Budget& budget, Text text);
void charge_list(Budget& budget, std::uint64_t items);
// For one more entry of a dict.
void charge_entry(Budget& budget, const Value& key);

// The Error for an Undefined that was used: what it says of itself.
[[noreturn]] void fail_undefined(const Value& undefined);

}  // namespace vigil::jinja
