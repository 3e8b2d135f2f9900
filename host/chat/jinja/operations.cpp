#include "host/chat/jinja/operations.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/formatting.h"
#include "host/chat/jinja/printing.h"
#include "host/chat/jinja/unicode.h"

namespace vigil::jinja {
namespace {

using Operator = ast::Binary::Operator;

std::string_view symbol_of(Operator op) {
    switch (op) {
        case Operator::add:
            return "+";
        case Operator::subtract:
            return "-";
        case Operator::multiply:
            return "*";
        case Operator::divide:
            return "/";
        case Operator::floor_divide:
            return "//";
        case Operator::modulo:
            return "%";
        case Operator::power:
            return "**";
    }
    return "?";
}

[[noreturn]] void fail_types(std::string_view symbol, const Value& a, const Value& b) {
    if (a.is_undefined()) fail_undefined(a);
    if (b.is_undefined()) fail_undefined(b);
    throw Error(fmt::format("operator '{}' does not work on '{}' and '{}'", symbol, type_name(a), type_name(b)));
}

[[noreturn]] void fail_overflow(Operator op) {
    throw Error(fmt::format("the result of '{}' does not fit into 64 bits", symbol_of(op)));
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
    if (exponent < 0) {
        if (base == 0) throw Error("zero cannot be raised to a negative power");
        return std::pow(static_cast<double>(base), static_cast<double>(exponent));
    }
    std::int64_t result = 1;
    while (exponent > 0) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) fail_overflow(Operator::power);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) fail_overflow(Operator::power);
    }
    return result;
}

Value integer_arithmetic(Operator op, std::int64_t a, std::int64_t b) {
    std::int64_t result = 0;
    switch (op) {
        case Operator::add:
            if (__builtin_add_overflow(a, b, &result)) fail_overflow(op);
            return result;
        case Operator::subtract:
            if (__builtin_sub_overflow(a, b, &result)) fail_overflow(op);
            return result;
        case Operator::multiply:
            if (__builtin_mul_overflow(a, b, &result)) fail_overflow(op);
            return result;
        case Operator::power:
            return integer_power(a, b);
        case Operator::divide:
            if (b == 0) throw Error("division by zero");
            return static_cast<double>(a) / static_cast<double>(b);
        case Operator::floor_divide:
        case Operator::modulo:
            break;
    }
    if (b == 0) throw Error("division by zero");
    if (b == -1) {  // the one divisor for which C++'s division can overflow
        if (op == Operator::modulo) return std::int64_t{0};
        if (__builtin_sub_overflow(std::int64_t{0}, a, &result)) fail_overflow(op);
        return result;
    }
    // Python rounds down, and the remainder has the divisor's sign.
    const std::int64_t remainder = a % b;
    const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
    if (op == Operator::modulo) return adjust ? remainder + b : remainder;
    return adjust ? a / b - 1 : a / b;
}

Value float_arithmetic(Operator op, double a, double b) {
    switch (op) {
        case Operator::add:
            return a + b;
        case Operator::subtract:
            return a - b;
        case Operator::multiply:
            return a * b;
        case Operator::power: {
            if (a == 0 && b < 0) throw Error("zero cannot be raised to a negative power");
            if (a < 0 && std::isfinite(b) && std::trunc(b) != b) {
                throw Error("a negative number cannot be raised to a fractional power");
            }
            const double result = std::pow(a, b);
            if (std::isinf(result) && std::isfinite(a) && std::isfinite(b))
                throw Error("the result of '**' is too large");
            return result;
        }
        case Operator::divide:
        case Operator::floor_divide:
        case Operator::modulo:
            break;
    }
    if (b == 0) throw Error("division by zero");
    if (op == Operator::divide) return a / b;
    double remainder = std::fmod(a, b);
    double quotient = (a - remainder) / b;
    if (remainder != 0) {
        if ((b < 0) != (remainder < 0)) {
            remainder += b;
            quotient -= 1;
        }
    } else {
        remainder = std::copysign(0.0, b);
    }
    if (op == Operator::modulo) return remainder;
    if (quotient == 0) return std::copysign(0.0, a / b);
    const double floored = std::floor(quotient);
    return quotient - floored > 0.5 ? floored + 1 : floored;
}

Value repeat(Budget& budget, const Value& value, std::int64_t times) {
    const std::uint64_t count = times > 0 ? static_cast<std::uint64_t>(times) : 0;
    // Checked by division, so that the product cannot overflow.
    const auto charge = [&](std::uint64_t each) {
        if (each > 0 && count > (std::uint64_t{1} << 40) / each) budget.allocate(std::uint64_t{1} << 40);
        budget.allocate(each * count);
        budget.step(count);
    };
    if (const Text* text = value.text()) {
        if (text->empty()) return value;
        charge(text->size() + sizeof(Text::Run) * text->runs().size());
        Text result;
        result.reserve(text->size() * count);
        for (std::uint64_t i = 0; i < count; ++i) result.append(*text);
        return result;
    }
    const List& list = *value.list();
    if (list.items.empty()) return value;
    charge(sizeof(Value) * list.items.size());
    std::vector<Value> items;
    items.reserve(list.items.size() * count);
    for (std::uint64_t i = 0; i < count; ++i) items.insert(items.end(), list.items.begin(), list.items.end());
    return List(std::move(items), list.shape);
}

bool can_repeat(const Value& value) {
    const List* list = value.list();
    return value.text() || (list && (list->shape == List::Shape::list || list->shape == List::Shape::tuple));
}

std::partial_ordering order_lists(Budget& budget, std::string_view symbol, const List& a, const List& b) {
    const std::size_t shared = std::min(a.items.size(), b.items.size());
    for (std::size_t i = 0; i < shared; ++i) {
        if (!equals(budget, a.items[i], b.items[i])) return order(budget, symbol, a.items[i], b.items[i]);
    }
    return a.items.size() <=> b.items.size();
}

}  // namespace

void fail_undefined(const Value& undefined) {
    const auto* why = std::get_if<Undefined>(&undefined.variant());
    throw Error(why && why->why ? *why->why : "an undefined value is used");
}

std::optional<std::int64_t> as_integer(const Value& value) noexcept {
    if (const std::int64_t* i = value.integer()) return *i;
    if (const bool* b = value.boolean()) return *b ? 1 : 0;
    return std::nullopt;
}

std::optional<double> as_number(const Value& value) noexcept {
    if (const double* d = value.floating()) return *d;
    if (const auto i = as_integer(value)) return static_cast<double>(*i);
    return std::nullopt;
}

bool truthy(const Value& value) noexcept {
    if (value.is_undefined() || value.is_none()) return false;
    if (const bool* b = value.boolean()) return *b;
    if (const std::int64_t* i = value.integer()) return *i != 0;
    if (const double* d = value.floating()) return *d != 0;
    if (const Text* text = value.text()) return !text->empty();
    if (const List* list = value.list()) return !list->items.empty();
    if (const Dict* dict = value.dict()) return dict->size() > 0;
    return true;
}

bool equals(Budget& budget, const Value& a, const Value& b) {
    budget.step();
    if (const Text* text = a.text()) {
        const Text* other = b.text();
        if (!other || text->size() != other->size()) return false;
        budget.touch(text->size());
        return text->bytes() == other->bytes();
    }
    if (const auto i = as_integer(a)) {
        if (const auto j = as_integer(b)) return *i == *j;
    }
    if (const auto x = as_number(a)) {
        const auto y = as_number(b);
        return y && *x == *y;
    }
    if (const List* list = a.list()) {
        const List* other = b.list();
        if (!other || list->shape != other->shape || list->items.size() != other->items.size()) return false;
        if (list->shape == List::Shape::values) return list == other;
        for (std::size_t i = 0; i < list->items.size(); ++i) {
            if (!equals(budget, list->items[i], other->items[i])) return false;
        }
        return true;
    }
    if (const Dict* dict = a.dict()) {
        const Dict* other = b.dict();
        if (!other || dict->size() != other->size()) return false;
        for (const Dict::Entry& entry : dict->entries()) {
            if (const Text* key = entry.first.text()) budget.touch(key->size());
            const Value* value = other->find(entry.first);
            if (!value || !equals(budget, entry.second, *value)) return false;
        }
        return true;
    }
    if (a.variant().index() != b.variant().index()) return false;
    if (a.is_none() || a.is_undefined()) return true;
    return a.name_space() == b.name_space() && a.iterator() == b.iterator() && a.callable() == b.callable() &&
           a.loop() == b.loop();
}

std::partial_ordering order(Budget& budget, std::string_view symbol, const Value& a, const Value& b) {
    budget.step();
    if (const Text* text = a.text(), *other = b.text(); text && other) {
        budget.touch(std::min(text->size(), other->size()));
        // UTF-8 sorts as its code points do.
        return text->bytes().compare(other->bytes()) <=> 0;
    }
    const auto i = as_integer(a), j = as_integer(b);
    if (i && j) return *i <=> *j;
    const auto x = as_number(a), y = as_number(b);
    if (x && y) return *x <=> *y;
    if (const List* list = a.list(), *other = b.list(); list && other && list->shape == other->shape) {
        if (can_repeat(a)) return order_lists(budget, symbol, *list, *other);
    }
    fail_types(symbol, a, b);
}

bool compare(Budget& budget, ast::Compare::Operator op, const Value& a, const Value& b) {
    using enum ast::Compare::Operator;
    switch (op) {
        case equal:
            return equals(budget, a, b);
        case not_equal:
            return !equals(budget, a, b);
        case less:
            return std::is_lt(order(budget, "<", a, b));
        case less_equal:
            return std::is_lteq(order(budget, "<=", a, b));
        case greater:
            return std::is_gt(order(budget, ">", a, b));
        case greater_equal:
            return std::is_gteq(order(budget, ">=", a, b));
        case in:
            return contains(budget, b, a);
        case not_in:
            return !contains(budget, b, a);
    }
    return false;
}

bool contains(Budget& budget, const Value& container, const Value& item) {
    if (const Text* text = container.text()) {
        const Text* part = item.text();
        if (!part) fail_types("in", item, container);
        budget.touch(text->size() + part->size());
        return text->bytes().find(part->bytes()) != std::string::npos;
    }
    if (const Dict* dict = container.dict()) {
        if (const Text* key = item.text()) budget.touch(key->size());
        return dict->find(item) != nullptr;
    }
    if (const List* list = container.list()) {
        return std::ranges::any_of(list->items, [&](const Value& other) { return equals(budget, item, other); });
    }
    if (Iterator* iterator = container.iterator()) {
        while (iterator->next < iterator->items.size()) {
            if (equals(budget, item, iterator->items[iterator->next++])) return true;
        }
        return false;
    }
    if (container.is_undefined()) return false;
    fail_types("in", item, container);
}

Value arithmetic(Budget& budget, Operator op, const Value& a, const Value& b) {
    if (op == Operator::modulo && a.text()) return percent_format(budget, *a.text(), b);
    const auto i = as_integer(a), j = as_integer(b);
    if (i && j) return integer_arithmetic(op, *i, *j);
    const auto x = as_number(a), y = as_number(b);
    if (x && y) return float_arithmetic(op, *x, *y);
    if (op == Operator::add) {
        if (const Text* left = a.text(), *right = b.text(); left && right) {
            budget.allocate(left->size() + right->size());
            Text sum;
            sum.reserve(left->size() + right->size());
            sum.append(*left);
            sum.append(*right);
            return charged(budget, std::move(sum));
        }
        if (const List* left = a.list(), *right = b.list();
            left && right && left->shape == right->shape && can_repeat(a)) {
            charge_list(budget, left->items.size() + right->items.size());
            std::vector<Value> items = left->items;
            items.insert(items.end(), right->items.begin(), right->items.end());
            return List(std::move(items), left->shape);
        }
    }
    if (op == Operator::multiply) {
        if (j && can_repeat(a)) return repeat(budget, a, *j);
        if (i && can_repeat(b)) return repeat(budget, b, *i);
    }
    fail_types(symbol_of(op), a, b);
}

Value negate(const Value& value) {
    if (const auto i = as_integer(value)) return integer_arithmetic(Operator::subtract, 0, *i);
    if (const double* d = value.floating()) return -*d;
    if (value.is_undefined()) fail_undefined(value);
    throw Error(fmt::format("operator '-' does not work on '{}'", type_name(value)));
}

std::int64_t length(Budget& budget, const Value& value) {
    if (const Text* text = value.text()) {
        budget.touch(text->size());
        return static_cast<std::int64_t>(unicode::count(text->bytes()));
    }
    if (const List* list = value.list()) return static_cast<std::int64_t>(list->items.size());
    if (const Dict* dict = value.dict()) return static_cast<std::int64_t>(dict->size());
    if (const Loop* loop = value.loop()) return static_cast<std::int64_t>(loop->items.size());
    if (value.is_undefined()) return 0;
    throw Error(fmt::format("a value of type '{}' has no length", type_name(value)));
}

bool is_iterable(const Value& value) noexcept {
    return value.is_undefined() || value.text() || value.list() || value.dict() || value.iterator() || value.loop();
}

std::vector<Value> elements(Budget& budget, const Value& value) {
    if (const List* list = value.list()) {
        charge_list(budget, list->items.size());
        return list->items;
    }
    std::vector<Value> items;
    if (const Dict* dict = value.dict()) {
        charge_list(budget, dict->size());
        for (const Dict::Entry& entry : dict->entries()) items.push_back(entry.first);
    } else if (const Text* text = value.text()) {
        for (std::size_t at = 0; at < text->size();) {
            const std::size_t length = unicode::at(text->bytes(), at).length;
            charge_list(budget, 1);
            items.push_back(charged(budget, text->slice(at, at + length)));
            at += length;
        }
    } else if (Iterator* iterator = value.iterator()) {
        charge_list(budget, iterator->items.size() - iterator->next);
        items.assign(iterator->items.begin() + static_cast<std::ptrdiff_t>(iterator->next), iterator->items.end());
        iterator->next = iterator->items.size();
    } else if (value.loop()) {
        throw Error("iterating over 'loop' is not supported");
    } else if (!value.is_undefined()) {
        throw Error(fmt::format("a value of type '{}' cannot be iterated", type_name(value)));
    }
    return items;
}

namespace {

struct Bounds {
    std::int64_t start, stop, step;
};

// Python's slice.indices.
Bounds slice_bounds(std::int64_t size, const Value& start, const Value& stop, const Value& step) {
    const auto number = [](const Value& value) -> std::optional<std::int64_t> {
        if (value.is_none()) return std::nullopt;
        if (const auto i = as_integer(value)) return i;
        if (value.is_undefined()) fail_undefined(value);
        throw Error(fmt::format("a slice's bound is of type '{}' and no integer", type_name(value)));
    };
    const std::int64_t by = number(step).value_or(1);
    if (by == 0) throw Error("a slice's step must not be zero");
    const std::int64_t lowest = by < 0 ? -1 : 0, highest = by < 0 ? size - 1 : size;
    const auto clamp = [&](std::optional<std::int64_t> bound, std::int64_t fallback) {
        if (!bound) return fallback;
        return std::clamp(*bound < 0 ? *bound + size : *bound, lowest, highest);
    };
    return {clamp(number(start), by < 0 ? highest : lowest), clamp(number(stop), by < 0 ? lowest : highest), by};
}

std::size_t count_of(const Bounds& bounds) {
    // Differences of clamped bounds cannot overflow; a step of INT64_MIN has no absolute value, hence the unsigned one.
    const std::int64_t distance = bounds.step > 0 ? bounds.stop - bounds.start : bounds.start - bounds.stop;
    if (distance <= 0) return 0;
    const std::uint64_t by = bounds.step > 0 ? static_cast<std::uint64_t>(bounds.step)
                                             : std::uint64_t{0} - static_cast<std::uint64_t>(bounds.step);
    return static_cast<std::size_t>((static_cast<std::uint64_t>(distance) - 1) / by + 1);
}

Value slice_text(Budget& budget, const Text& text, const Bounds& bounds, std::size_t count) {
    const std::string& bytes = text.bytes();
    budget.touch(text.size());
    std::size_t at = unicode::offset_of(bytes, static_cast<std::size_t>(std::max<std::int64_t>(bounds.start, 0)));
    if (bounds.step == 1) {
        std::size_t end = at;
        for (std::size_t i = 0; i < count; ++i) end += unicode::at(bytes, end).length;
        budget.allocate(end - at);
        return charged(budget, text.slice(at, end));
    }
    Text result;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t length = unicode::at(bytes, at).length;
        result.append(text, at, at + length);
        if (i + 1 == count) break;
        for (std::int64_t step = 0; step < bounds.step; ++step) at += unicode::at(bytes, at).length;
        for (std::int64_t step = 0; step > bounds.step; --step) at -= unicode::before(bytes, at).length;
    }
    return charged(budget, std::move(result));
}

}  // namespace

Value slice(Budget& budget, const Value& value, const Value& start, const Value& stop, const Value& step) {
    if (value.is_undefined()) fail_undefined(value);
    const List* list = value.list();
    if (!value.text() && !(list && list->is_sequence())) {
        throw Error(fmt::format("a value of type '{}' cannot be sliced", type_name(value)));
    }
    const Bounds bounds = slice_bounds(length(budget, value), start, stop, step);
    const std::size_t count = count_of(bounds);
    if (const Text* text = value.text()) return slice_text(budget, *text, bounds, count);
    charge_list(budget, count);
    std::vector<Value> items;
    items.reserve(count);
    std::int64_t at = bounds.start;
    for (std::size_t i = 0; i < count; ++i) {
        items.push_back(list->items[static_cast<std::size_t>(at)]);
        if (i + 1 < count) at += bounds.step;
    }
    List part(std::move(items), list->shape);
    if (list->shape == List::Shape::range) {
        // Only for printing; the ends may lie beyond 64 bits, so they wrap.
        const auto scaled = [&](std::int64_t n) {
            return static_cast<std::uint64_t>(n) * static_cast<std::uint64_t>(list->step);
        };
        const auto first = static_cast<std::uint64_t>(list->start);
        part.start = static_cast<std::int64_t>(first + scaled(bounds.start));
        part.stop = static_cast<std::int64_t>(first + scaled(bounds.stop));
        part.step = static_cast<std::int64_t>(scaled(bounds.step));
    }
    return part;
}

std::optional<Value> element_at(Budget& budget, const Value& value, std::int64_t index) {
    const List* list = value.list();
    if (!value.text() && !(list && list->is_sequence())) return std::nullopt;
    const std::int64_t size = length(budget, value);
    if (index < 0) index += size;
    if (index < 0 || index >= size) return std::nullopt;
    if (list) return list->items[static_cast<std::size_t>(index)];
    const Text& text = *value.text();
    const std::size_t at = unicode::offset_of(text.bytes(), static_cast<std::size_t>(index));
    return charged(budget, text.slice(at, at + unicode::at(text.bytes(), at).length));
}

Value charged(Budget& budget, Text text) {
    constexpr std::uint64_t object = 64;  // what a string takes beyond its bytes
    budget.allocate(object + text.size() + sizeof(Text::Run) * text.runs().size());
    return text;
}

void charge_list(Budget& budget, std::uint64_t items) {
    budget.allocate(sizeof(Value) * (items + 2));
}

void charge_entry(Budget& budget, const Value& key) {
    constexpr std::uint64_t entry = 192;  // two values, and a node of the index with its own copy of the key
    budget.allocate(entry + (key.text() ? key.text()->size() : 0));
}

}  // namespace vigil::jinja
