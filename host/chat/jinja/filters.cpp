// Jinja's filters, as far as chat templates use them; tojson is transformers'.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <numeric>
#include <unordered_set>

#include "host/chat/jinja/builtins.h"
#include "host/chat/jinja/error.h"
#include "host/chat/jinja/formatting.h"
#include "host/chat/jinja/numbers.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/printing.h"
#include "host/chat/jinja/strings.h"
#include "host/chat/jinja/unicode.h"

namespace vigil::jinja {
namespace {

using strings::Side;

Value iterator(Budget& budget, std::vector<Value> items) {
    charge_list(budget, items.size());
    return std::make_shared<Iterator>(std::move(items));
}

// A filter's subject as text: any value is printed.
struct AsText {
    AsText(Interpreter& in, const Value& value) : value_(to_text(in.budget(), value)) {}
    // NOLINTNEXTLINE(google-explicit-constructor): it stands wherever a text is wanted
    operator const Text&() const { return *value_.text(); }
    const Value value_;
};

bool is_given(const Bound& bound, std::size_t parameter) {
    return bound.find(parameter) && !bound[parameter].is_none();
}

// "a.b.0": the steps of an attribute's path. None: the item itself.
std::vector<Value> attribute_path(const Value* attribute) {
    if (!attribute || attribute->is_none()) return {};
    const Text* text = attribute->text();
    if (!text) return {*attribute};
    std::vector<Value> steps;
    std::string_view rest = text->bytes();
    while (true) {
        const std::string_view step = rest.substr(0, rest.find('.'));
        std::int64_t index = 0;
        const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
        const bool is_index =
            !step.empty() && error == std::errc() && end == step.data() + step.size() && step[0] != '-';
        steps.push_back(is_index ? Value(index) : make_text(step));
        if (step.size() == rest.size()) return steps;
        rest.remove_prefix(step.size() + 1);
    }
}

Value follow(Interpreter& in, Value item, const std::vector<Value>& path, const Value* fallback = nullptr) {
    for (const Value& step : path) {
        item = in.item(item, step);
        if (fallback && item.is_undefined()) item = *fallback;
    }
    return item;
}

// What sorting and comparing without case looks at.
Value sort_key(Interpreter& in, const Value& value, bool case_sensitive) {
    return case_sensitive || !value.text() ? value : strings::lower(in.budget(), *value.text());
}

// Text

template <Value (*function)(Budget&, const Text&)>
Value change_case(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("a text filter", arguments, {});
    return function(in.budget(), AsText(in, subject));
}

Value string(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("string", arguments, {});
    return to_text(in.budget(), subject);
}

Value trim(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("trim", arguments, {"chars"});
    return strings::strip(in.budget(), AsText(in, subject), Side::both, is_given(bound, 0) ? &bound.text(0) : nullptr);
}

Value replace(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
    return strings::replace(in.budget(), AsText(in, subject), AsText(in, bound[0]), AsText(in, bound[1]),
                            is_given(bound, 2) ? bound.integer(2, -1) : -1);
}

Value center(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("center", arguments, {"width"});
    return strings::justify(in.budget(), AsText(in, subject), bound.integer(0, 80), Text(" "), Side::both);
}

Value format(Interpreter& in, const Value& subject, Arguments& arguments) {
    if (!arguments.named.empty()) throw Error("the filter 'format' with named arguments is not supported");
    return percent_format(in.budget(), AsText(in, subject), make_tuple(arguments.positional));
}

Text blanks(Budget& budget, std::int64_t count) {
    const auto size = static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
    budget.allocate(size);
    return Text(std::string(size, ' '));
}

Value indent(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("indent", arguments, {"width", "first", "blank"});
    if (!subject.text()) {
        if (subject.is_undefined()) fail_undefined(subject);
        throw Error(fmt::format("the filter 'indent' needs a string, got '{}'", type_name(subject)));
    }
    Budget& budget = in.budget();
    const Value* width = bound.find(0);
    const Text indentation = width && width->text() ? *width->text() : blanks(budget, bound.integer(0, 4));
    Text text = *subject.text();
    budget.allocate(text.size());
    // Without it a line break at the end would be lost.
    text.append("\n", false);
    Text result;
    const auto add = [&](const Text& part) {
        budget.allocate(part.size());
        result.append(part);
    };
    if (bound.truth(1, false)) add(indentation);
    bool is_first = true;
    for (const Text& line : strings::split_lines(budget, text, false)) {
        if (!is_first) {
            result.append("\n", false);
            if (bound.truth(2, false) || !line.empty()) add(indentation);
        }
        is_first = false;
        add(line);
    }
    return charged(budget, std::move(result));
}

Value truncate(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("truncate", arguments, {"length", "killwords", "end", "leeway"});
    Budget& budget = in.budget();
    const AsText printed(in, subject);
    const Text& text = printed;
    const Text ellipsis("...");
    const Text& end = bound.find(2) ? bound.text(2) : ellipsis;
    const std::int64_t size = length(budget, Value(text)), end_size = length(budget, Value(end));
    const std::int64_t most = bound.integer(0, 255), leeway = is_given(bound, 3) ? bound.integer(3, 5) : 5;
    if (most < end_size || leeway < 0) throw Error("the filter 'truncate' got a length or leeway that is too small");
    if (size - leeway <= most) return subject;
    std::size_t cut = unicode::offset_of(text.bytes(), static_cast<std::size_t>(most - end_size));
    if (!bound.truth(1, false)) {
        const std::size_t blank = std::string_view(text.bytes()).substr(0, cut).rfind(' ');
        if (blank != std::string_view::npos) cut = blank;
    }
    budget.allocate(cut + end.size());
    Text result = text.slice(0, cut);
    result.append(end);
    return charged(budget, std::move(result));
}

Value word_count(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("wordcount", arguments, {});
    const AsText printed(in, subject);
    const std::string& bytes = static_cast<const Text&>(printed).bytes();
    in.budget().touch(bytes.size());
    std::int64_t words = 0;
    bool in_word = false;
    for (std::size_t at = 0; at < bytes.size();) {
        const unicode::CodePoint c = unicode::at(bytes, at);
        const bool is_word = unicode::is_alpha(c.value) || unicode::is_decimal(c.value) || c.value == '_';
        if (is_word && !in_word) ++words;
        in_word = is_word;
        at += c.length;
    }
    return words;
}

// HTML's special characters, as markupsafe writes them.
Value escape(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("escape", arguments, {});
    constexpr std::pair<std::string_view, std::string_view> entities[] = {
        {"&", "&amp;"}, {">", "&gt;"}, {"<", "&lt;"}, {"'", "&#39;"}, {"\"", "&#34;"}};
    Value text = to_text(in.budget(), subject);
    for (const auto& [character, entity] : entities) {
        text = strings::replace(in.budget(), *text.text(), Text(character), Text(entity), -1);
    }
    return text;
}

Value tojson(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
    JsonStyle style;
    style.ensure_ascii = bound.truth(0, false);
    style.sort_keys = bound.truth(3, false);
    if (is_given(bound, 1)) {
        const Text* indentation = bound[1].text();
        style.indent = indentation ? indentation->bytes() : blanks(in.budget(), bound.integer(1, 0)).bytes();
        style.item_separator = std::string(",");
    }
    if (is_given(bound, 2)) {
        const std::vector<Value> separators = elements(in.budget(), bound[2]);
        if (separators.size() != 2 || !separators[0].text() || !separators[1].text()) {
            throw Error("the filter 'tojson' needs two strings as separators");
        }
        style.item_separator = separators[0].text()->bytes();
        style.key_separator = separators[1].text()->bytes();
    }
    Text text;
    print_json(in.budget(), text, subject, style);
    return charged(in.budget(), std::move(text));
}

// Numbers

Value absolute(Interpreter&, const Value& subject, Arguments& arguments) {
    const Bound bound("abs", arguments, {});
    if (const double* d = subject.floating()) return std::abs(*d);
    if (const auto i = as_integer(subject)) return *i < 0 ? negate(*i) : Value(*i);
    if (subject.is_undefined()) fail_undefined(subject);
    throw Error(fmt::format("the filter 'abs' needs a number, got '{}'", type_name(subject)));
}

Value to_integer(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("int", arguments, {"default", "base"});
    if (subject.is_undefined()) fail_undefined(subject);
    const auto base = static_cast<int>(std::clamp<std::int64_t>(bound.integer(1, 10), -1, 99));
    const auto fallback = [&] { return bound.find(0) ? bound[0] : Value(std::int64_t{0}); };
    if (const auto i = as_integer(subject)) return *i;
    std::optional<double> number = as_number(subject);
    if (const Text* text = subject.text()) {
        in.budget().touch(text->size());
        if (const auto i = parse_integer(text->bytes(), base)) return *i;
        number = parse_float(text->bytes());
    }
    if (!number || !std::isfinite(*number)) return fallback();
    if (std::abs(*number) >= 9.2e18) throw Error("an integer does not fit into 64 bits");
    return static_cast<std::int64_t>(*number);
}

Value to_float(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("float", arguments, {"default"});
    if (subject.is_undefined()) fail_undefined(subject);
    std::optional<double> number = as_number(subject);
    if (const Text* text = subject.text()) {
        in.budget().touch(text->size());
        number = parse_float(text->bytes());
    }
    if (number) return *number;
    return bound.find(0) ? bound[0] : Value(0.0);
}

Value round(Interpreter&, const Value& subject, Arguments& arguments) {
    const Bound bound("round", arguments, {"precision", "method"});
    const auto number = as_number(subject);
    if (subject.is_undefined()) fail_undefined(subject);
    if (!number) throw Error(fmt::format("the filter 'round' needs a number, got '{}'", type_name(subject)));
    const std::int64_t precision = bound.integer(0, 0);
    const std::string method = bound.find(1) ? bound.text(1).bytes() : "common";
    constexpr std::int64_t most_digits = 300;
    if (precision > most_digits || precision < -most_digits) throw Error("the filter 'round' got an absurd precision");
    if (method == "common") {
        if (const auto i = as_integer(subject); i && precision >= 0) return *i;
        const double rounded = round_half_even(*number, static_cast<int>(precision));
        if (as_integer(subject) && std::abs(rounded) < 9.2e18) return static_cast<std::int64_t>(rounded);
        return rounded;
    }
    const double scale = std::pow(10.0, static_cast<double>(precision));
    if (method == "ceil") return std::ceil(*number * scale) / scale;
    if (method == "floor") return std::floor(*number * scale) / scale;
    throw Error("the filter 'round' knows the methods common, ceil and floor");
}

// Sequences

Value count(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("length", arguments, {});
    return length(in.budget(), subject);
}

Value list(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("list", arguments, {});
    return List(elements(in.budget(), subject));
}

Value join(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("join", arguments, {"d", "attribute"});
    const std::vector<Value> path = attribute_path(bound.find(1));
    const Value separator = bound.find(0) ? to_text(in.budget(), bound[0]) : make_text("");
    Text result;
    bool first = true;
    for (const Value& item : elements(in.budget(), subject)) {
        if (!first) print(in.budget(), result, separator);
        first = false;
        print(in.budget(), result, follow(in, item, path));
    }
    return charged(in.budget(), std::move(result));
}

Value undefined_item(const char* why) {
    return Undefined{std::make_shared<const std::string>(why)};
}

Value first(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("first", arguments, {});
    if (Iterator* iterator = subject.iterator()) {
        if (iterator->next < iterator->items.size()) return iterator->items[iterator->next++];
    } else if (auto element = element_at(in.budget(), subject, 0)) {
        return *std::move(element);
    } else if (const std::vector<Value> items = elements(in.budget(), subject); !items.empty()) {
        return items.front();
    }
    return undefined_item("there is no first item: the sequence is empty");
}

Value last(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("last", arguments, {});
    if (subject.iterator()) throw Error("the filter 'last' does not work on a generator; '|list' makes it a list");
    if (auto element = element_at(in.budget(), subject, -1)) return *std::move(element);
    const std::vector<Value> items = elements(in.budget(), subject);
    return items.empty() ? undefined_item("there is no last item: the sequence is empty") : items.back();
}

Value reverse(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("reverse", arguments, {});
    if (subject.text()) return slice(in.budget(), subject, None{}, None{}, std::int64_t{-1});
    std::vector<Value> items = elements(in.budget(), subject);
    std::ranges::reverse(items);
    if (subject.iterator()) return List(std::move(items));
    return iterator(in.budget(), std::move(items));
}

Value items(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("items", arguments, {});
    std::vector<Value> pairs;
    if (const Dict* dict = subject.dict()) {
        charge_list(in.budget(), dict->size() * 5);
        for (const auto& [key, value] : dict->entries()) pairs.push_back(make_tuple({key, value}));
    } else if (!subject.is_undefined()) {
        throw Error(fmt::format("the filter 'items' needs a dict, got '{}'", type_name(subject)));
    }
    return iterator(in.budget(), std::move(pairs));
}

// Values in the order of their keys; equal ones stay in place.
std::vector<Value> sorted(Interpreter& in, const std::vector<Value>& values, const std::vector<Value>& keys,
                          bool descending) {
    std::vector<std::size_t> places(values.size());
    std::iota(places.begin(), places.end(), std::size_t{0});
    std::ranges::stable_sort(places, [&](std::size_t a, std::size_t b) {
        return std::is_lt(order(in.budget(), "<", keys[descending ? b : a], keys[descending ? a : b]));
    });
    std::vector<Value> result;
    result.reserve(values.size());
    for (const std::size_t place : places) result.push_back(values[place]);
    return result;
}

Value dictsort(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
    if (subject.is_undefined()) fail_undefined(subject);
    const Dict* dict = subject.dict();
    if (!dict) throw Error(fmt::format("the filter 'dictsort' needs a dict, got '{}'", type_name(subject)));
    const std::string by = bound.find(1) ? bound.text(1).bytes() : "key";
    if (by != "key" && by != "value") throw Error("the filter 'dictsort' sorts by 'key' or 'value'");
    charge_list(in.budget(), dict->size() * 6);
    std::vector<Value> pairs, keys;
    for (const auto& [key, value] : dict->entries()) {
        pairs.push_back(make_tuple({key, value}));
        keys.push_back(sort_key(in, by == "key" ? key : value, bound.truth(0, false)));
    }
    return List(sorted(in, pairs, keys, bound.truth(2, false)));
}

Value sort(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
    const bool case_sensitive = bound.truth(1, false);
    // Several attributes with commas between them sort one after the other.
    std::vector<std::vector<Value>> paths;
    if (bound.find(2) && bound[2].text()) {
        const Text comma(",");
        const Value names = strings::split(in.budget(), *bound[2].text(), &comma, -1, false);
        for (const Value& name : names.list()->items) paths.push_back(attribute_path(&name));
    } else {
        paths.push_back(attribute_path(bound.find(2)));
    }
    const std::vector<Value> values = elements(in.budget(), subject);
    std::vector<Value> keys;
    for (const Value& value : values) {
        std::vector<Value> key;
        for (const std::vector<Value>& path : paths) {
            key.push_back(sort_key(in, follow(in, value, path), case_sensitive));
        }
        charge_list(in.budget(), key.size());
        keys.emplace_back(List(std::move(key)));
    }
    return List(sorted(in, values, keys, bound.truth(0, false)));
}

Value unique(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("unique", arguments, {"case_sensitive", "attribute"});
    const std::vector<Value> path = attribute_path(bound.find(1));
    std::unordered_set<std::string> seen;
    std::vector<Value> kept;
    for (const Value& value : elements(in.budget(), subject)) {
        const Value key = sort_key(in, follow(in, value, path), bound.truth(0, false));
        charge_entry(in.budget(), key);
        if (seen.insert(hash_key(key)).second) kept.push_back(value);
    }
    return iterator(in.budget(), std::move(kept));
}

template <bool largest>
Value extreme(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound(largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
    const std::vector<Value> path = attribute_path(bound.find(1));
    Value best, best_key;
    bool found = false;
    for (const Value& value : elements(in.budget(), subject)) {
        Value key = sort_key(in, follow(in, value, path), bound.truth(0, false));
        const bool is_better = !found || (largest ? std::is_gt(order(in.budget(), ">", key, best_key))
                                                  : std::is_lt(order(in.budget(), "<", key, best_key)));
        if (!is_better) {
            continue;
        }
        found = true;
        best = value;
        best_key = std::move(key);
    }
    return found ? best : undefined_item("there is no item to choose from: the sequence is empty");
}

Value sum(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("sum", arguments, {"attribute", "start"});
    const std::vector<Value> path = attribute_path(bound.find(0));
    Value total = bound.find(1) ? bound[1] : Value(std::int64_t{0});
    if (total.text()) throw Error("the filter 'sum' does not join strings; 'join' does");
    for (const Value& item : elements(in.budget(), subject)) {
        total = arithmetic(in.budget(), ast::Binary::Operator::add, total, follow(in, item, path));
    }
    return total;
}

Value batch(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("batch", arguments, {"linecount", "fill_with"}, 1);
    const std::int64_t size = bound.integer(0, 0);
    if (size <= 0) throw Error("the filter 'batch' needs a positive line count");
    std::vector<Value> lines, line;
    const auto flush = [&] {
        charge_list(in.budget(), line.size());
        lines.emplace_back(List(std::exchange(line, {})));
    };
    for (const Value& item : elements(in.budget(), subject)) {
        if (static_cast<std::int64_t>(line.size()) == size) flush();
        line.push_back(item);
    }
    if (!line.empty()) {
        if (is_given(bound, 1)) {
            charge_list(in.budget(), static_cast<std::uint64_t>(size));
            line.resize(static_cast<std::size_t>(size), bound[1]);
        }
        flush();
    }
    return iterator(in.budget(), std::move(lines));
}

Value slices(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("slice", arguments, {"slices", "fill_with"}, 1);
    const std::vector<Value> items = elements(in.budget(), subject);
    const std::int64_t wanted = bound.integer(0, 0);
    if (wanted <= 0) throw Error("the filter 'slice' needs a positive number of slices");
    charge_list(in.budget(), static_cast<std::uint64_t>(std::min(wanted, longest_range * 1000)) * 4);
    const auto parts = static_cast<std::size_t>(wanted);
    const std::size_t each = items.size() / parts, longer = items.size() % parts;
    std::vector<Value> result;
    auto at = items.begin();
    for (std::size_t i = 0; i < parts; ++i) {
        in.budget().step();
        const auto end = at + static_cast<std::ptrdiff_t>(each + (i < longer ? 1 : 0));
        std::vector<Value> part(at, end);
        if (is_given(bound, 1) && i >= longer) part.push_back(bound[1]);
        result.emplace_back(List(std::move(part)));
        at = end;
    }
    return iterator(in.budget(), std::move(result));
}

Value groupby(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
    const std::vector<Value> path = attribute_path(bound.find(0));
    const bool case_sensitive = bound.truth(2, false);
    const Value* fallback = is_given(bound, 1) ? bound.find(1) : nullptr;
    const std::vector<Value> values = elements(in.budget(), subject);
    const auto key_of = [&](const Value& value) {
        return sort_key(in, follow(in, value, path, fallback), case_sensitive);
    };
    std::vector<Value> keys;
    for (const Value& value : values) keys.push_back(key_of(value));
    std::vector<Value> groups, group;
    const auto flush = [&] {
        if (group.empty()) return;
        charge_list(in.budget(), group.size() + 4);
        const Value name = follow(in, group.front(), path, fallback);
        groups.push_back(make_tuple({name, List(std::exchange(group, {}))}));
    };
    Value current;
    for (const Value& value : sorted(in, values, keys, false)) {
        Value key = key_of(value);
        if (!group.empty() && !equals(in.budget(), key, current)) flush();
        current = std::move(key);
        group.push_back(value);
    }
    flush();
    return List(std::move(groups));
}

// Choosing and mapping items

// What map, select and the like go through: nothing for a value that counts as false, even if it cannot be iterated.
std::vector<Value> elements_if_true(Interpreter& in, const Value& subject) {
    return truthy(subject) ? elements(in.budget(), subject) : std::vector<Value>();
}

Value map(Interpreter& in, const Value& subject, Arguments& arguments) {
    std::vector<Value> mapped;
    const auto named = [&](std::string_view name) -> const Value* {
        for (const auto& [key, value] : arguments.named) {
            if (key == name) return &value;
        }
        return nullptr;
    };
    if (arguments.positional.empty()) {
        const Value* attribute = named("attribute");
        if (!attribute) throw Error("the filter 'map' needs the name of a filter, or attribute=…");
        const Value* fallback = named("default");
        if (arguments.named.size() > (fallback ? 2u : 1u))
            throw Error("the filter 'map' knows attribute and default only");
        if (fallback && fallback->is_none()) fallback = nullptr;
        const std::vector<Value> path = attribute_path(attribute);
        for (const Value& item : elements_if_true(in, subject)) mapped.push_back(follow(in, item, path, fallback));
        return iterator(in.budget(), std::move(mapped));
    }
    const Text* name = arguments.positional[0].text();
    if (!name) throw Error("the filter 'map' needs a filter's name as a string");
    Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
    for (const Value& item : elements_if_true(in, subject)) {
        in.budget().step();
        mapped.push_back(in.apply_filter(name->bytes(), item, rest));
    }
    return iterator(in.budget(), std::move(mapped));
}

// select, reject, selectattr and rejectattr: by truth, or by a test with its arguments.
template <bool by_attribute, bool keep>
Value choose(Interpreter& in, const Value& subject, Arguments& arguments) {
    auto& given = arguments.positional;
    std::vector<Value> path;
    if (by_attribute) {
        if (given.empty()) throw Error("the filters selectattr and rejectattr need an attribute's name");
        path = attribute_path(&given.front());
    }
    const std::size_t used = by_attribute ? 1 : 0;
    const Text* test = given.size() > used ? given[used].text() : nullptr;
    if (given.size() > used && !test) throw Error("a test's name must be a string");
    Arguments rest;
    if (test) rest = {{given.begin() + static_cast<std::ptrdiff_t>(used) + 1, given.end()}, arguments.named};
    std::vector<Value> kept;
    for (const Value& item : elements_if_true(in, subject)) {
        in.budget().step();
        const Value value = follow(in, item, path);
        if ((test ? in.apply_test(test->bytes(), value, rest) : truthy(value)) == keep) kept.push_back(item);
    }
    return iterator(in.budget(), std::move(kept));
}

Value fallback(Interpreter&, const Value& subject, Arguments& arguments) {
    const Bound bound("default", arguments, {"default_value", "boolean"});
    if (!subject.is_undefined() && (truthy(subject) || !bound.truth(1, false))) return subject;
    return bound.find(0) ? bound[0] : make_text("");
}

Value attribute(Interpreter& in, const Value& subject, Arguments& arguments) {
    const Bound bound("attr", arguments, {"name"}, 1);
    if (subject.is_undefined()) fail_undefined(subject);
    if (auto value = find_attribute(in, subject, bound.text(0).bytes())) return *std::move(value);
    return undefined_item("the filter 'attr' found no such attribute");
}

// In the order of their names.
constexpr NamedFilter filters[] = {
    {"abs", absolute},
    {"attr", attribute},
    {"batch", batch},
    {"capitalize", change_case<strings::capitalize>},
    {"center", center},
    {"count", count},
    {"d", fallback},
    {"default", fallback},
    {"dictsort", dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", first},
    {"float", to_float},
    {"format", format},
    {"groupby", groupby},
    {"indent", indent},
    {"int", to_integer},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", count},
    {"list", list},
    {"lower", change_case<strings::lower>},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", choose<false, false>},
    {"rejectattr", choose<true, false>},
    {"replace", replace},
    {"reverse", reverse},
    {"round", round},
    {"safe", string},
    {"select", choose<false, true>},
    {"selectattr", choose<true, true>},
    {"slice", slices},
    {"sort", sort},
    {"string", string},
    {"sum", sum},
    {"title", change_case<strings::title_filter>},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"unique", unique},
    {"upper", change_case<strings::upper>},
    {"wordcount", word_count},
};

}  // namespace

FilterFunction find_filter(std::string_view name) noexcept {
    const auto* const place = std::ranges::lower_bound(filters, name, {}, &NamedFilter::name);
    return place != std::end(filters) && place->name == name ? place->function : nullptr;
}

}  // namespace vigil::jinja
