// Jinja's tests: what may stand behind "is".
#include <algorithm>
#include <fmt/format.h>

#include "host/chat/jinja/builtins.h"
#include "host/chat/jinja/error.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/printing.h"
#include "host/chat/jinja/unicode.h"

namespace vigil::jinja {
namespace {

using Operator = ast::Compare::Operator;

// A test of the value alone.
template <bool (*predicate)(const Value&)>
bool plain(Interpreter&, const Value& subject, Arguments& arguments) {
    const Bound bound("the test", arguments, {});
    return predicate(subject);
}

bool is_defined(const Value& value) {
    return !value.is_undefined();
}
bool is_undefined(const Value& value) {
    return value.is_undefined();
}
bool is_none(const Value& value) {
    return value.is_none();
}
bool is_string(const Value& value) {
    return value.text() != nullptr;
}
bool is_mapping(const Value& value) {
    return value.dict() != nullptr;
}
bool is_number(const Value& value) {
    return as_number(value).has_value();
}
bool is_integer(const Value& value) {
    return value.integer() != nullptr;
}
bool is_float(const Value& value) {
    return value.floating() != nullptr;
}
bool is_boolean(const Value& value) {
    return value.boolean() != nullptr;
}
bool is_true(const Value& value) {
    return value.boolean() && *value.boolean();
}
bool is_false(const Value& value) {
    return value.boolean() && !*value.boolean();
}
bool is_callable(const Value& value) {
    // Jinja's Undefined has a __call__, and so has LoopContext.
    return value.callable() || value.loop() || value.is_undefined();
}
// What has both a length and items by index or key.
bool is_sequence(const Value& value) {
    const List* list = value.list();
    return value.text() || value.dict() || value.is_undefined() || (list && list->is_sequence());
}
bool never(const Value&) {
    return false;
}

template <bool wants_upper>
bool has_case(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound(wants_upper ? "upper" : "lower", arguments, {});
    const Value text = to_text(in.budget(), subject);
    const std::string& bytes = text.text()->bytes();
    in.budget().touch(bytes.size());
    bool any = false;
    for (std::size_t at = 0; at < bytes.size();) {
        const unicode::CodePoint c = unicode::at(bytes, at);
        if (unicode::is_title(c.value) || (wants_upper ? unicode::is_lower(c.value) : unicode::is_upper(c.value))) {
            return false;
        }
        any = any || unicode::is_upper(c.value) || unicode::is_lower(c.value);
        at += c.length;
    }
    return any;
}

bool divides(Interpreter& in, const Value& subject, const Value& by) {
    const Value rest = arithmetic(in.budget(), ast::Binary::Operator::modulo, subject, by);
    return equals(in.budget(), rest, std::int64_t{0});
}
bool is_even(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("even", arguments, {});
    return divides(in, subject, std::int64_t{2});
}
bool is_odd(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("odd", arguments, {});
    return equals(in.budget(), arithmetic(in.budget(), ast::Binary::Operator::modulo, subject, std::int64_t{2}),
                  std::int64_t{1});
}
bool is_divisible_by(Interpreter& in, const Value& subject, Arguments& arguments) {
    return divides(in, subject, Bound("divisibleby", arguments, {"num"}, 1)[0]);
}

template <Operator op>
bool compares(Interpreter& in, const Value& subject, Arguments& arguments) {
    return compare(in.budget(), op, subject, Bound("a comparison", arguments, {"other"}, 1)[0]);
}

bool same_as(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("sameas", arguments, {"other"}, 1);
    const Value& other = bound[0];
    if (subject.variant().index() != other.variant().index()) return false;
    if (subject.text() || subject.list() || subject.dict()) {
        return subject.text() == other.text() && subject.list() == other.list() && subject.dict() == other.dict();
    }
    return equals(in.budget(), subject, other);
}

bool is_filter(Interpreter&, const Value& subject, Arguments& arguments) {
    const Bound bound("filter", arguments, {});
    return subject.text() && find_filter(subject.text()->bytes());
}
bool is_test(Interpreter&, const Value& subject, Arguments& arguments) {
    const Bound bound("test", arguments, {});
    return subject.text() && find_test(subject.text()->bytes());
}

// In the order of their names.
constexpr NamedTest tests[] = {
    {"!=", compares<Operator::not_equal>},
    {"<", compares<Operator::less>},
    {"<=", compares<Operator::less_equal>},
    {"==", compares<Operator::equal>},
    {">", compares<Operator::greater>},
    {">=", compares<Operator::greater_equal>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", is_divisible_by},
    {"eq", compares<Operator::equal>},
    {"equalto", compares<Operator::equal>},
    {"escaped", plain<never>},
    {"even", is_even},
    {"false", plain<is_false>},
    {"filter", is_filter},
    {"float", plain<is_float>},
    {"ge", compares<Operator::greater_equal>},
    {"greaterthan", compares<Operator::greater>},
    {"gt", compares<Operator::greater>},
    {"in", compares<Operator::in>},
    {"integer", plain<is_integer>},
    {"iterable", plain<+[](const Value& value) { return is_iterable(value); }>},
    {"le", compares<Operator::less_equal>},
    {"lessthan", compares<Operator::less>},
    {"lower", has_case<false>},
    {"lt", compares<Operator::less>},
    {"mapping", plain<is_mapping>},
    {"ne", compares<Operator::not_equal>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", is_odd},
    {"sameas", same_as},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", is_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", has_case<true>},
};

}  // namespace

TestFunction find_test(std::string_view name) noexcept {
    const auto* const place = std::ranges::lower_bound(tests, name, {}, &NamedTest::name);
    return place != std::end(tests) && place->name == name ? place->function : nullptr;
}

}  // namespace vigil::jinja
