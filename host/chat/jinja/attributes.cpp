// The methods and attributes of values: those of Python's str, list, tuple, dict and of Jinja's loop that templates
// use.
#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <span>

#include "host/chat/jinja/builtins.h"
#include "host/chat/jinja/error.h"
#include "host/chat/jinja/formatting.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/printing.h"
#include "host/chat/jinja/strings.h"
#include "host/chat/jinja/unicode.h"

namespace vigil::jinja {
namespace {

using strings::Side;
using Method = Value (*)(Interpreter&, const Value& self, Arguments&);

struct NamedMethod {
    std::string_view name;
    Method function;
};

const Text& text_of(const Value& value) {
    return *value.text();
}

// An argument that may be None or left out.
const Text* optional_text(const Bound& bound, std::size_t parameter) {
    return bound.find(parameter) && !bound[parameter].is_none() ? &bound.text(parameter) : nullptr;
}

// String methods

template <Side side>
Value strip(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("strip", arguments, {"chars"});
    return strings::strip(in.budget(), text_of(self), side, optional_text(bound, 0));
}

template <bool from_right>
Value split(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("split", arguments, {"sep", "maxsplit"});
    return strings::split(in.budget(), text_of(self), optional_text(bound, 0), bound.integer(1, -1), from_right);
}

template <bool from_right>
Value partition(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("partition", arguments, {"sep"}, 1);
    return strings::partition(in.budget(), text_of(self), bound.text(0), from_right);
}

Value split_lines(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("splitlines", arguments, {"keepends"});
    std::vector<Value> lines;
    for (Text& line : strings::split_lines(in.budget(), text_of(self), bound.truth(0, false))) {
        charge_list(in.budget(), 1);
        lines.emplace_back(std::move(line));
    }
    return List(std::move(lines));
}

// A stretch [start, end) of the string in bytes, from optional arguments that count code points.
struct Stretch {
    std::size_t begin, end;
    bool is_valid;  // Python finds nothing, not even "", behind the end
};
Stretch stretch(Budget& budget, const Text& text, const Bound& bound, std::size_t first_parameter) {
    const std::int64_t size = length(budget, Value(text));
    const auto place = [&](std::size_t parameter, std::int64_t fallback) {
        if (!bound.find(parameter) || bound[parameter].is_none()) return fallback;
        const std::int64_t index = bound.integer(parameter, fallback);
        return index < 0 ? std::max<std::int64_t>(index + size, 0) : index;
    };
    const std::int64_t begin = place(first_parameter, 0), end = std::min(place(first_parameter + 1, size), size);
    if (begin > end) return {0, 0, false};
    const std::string& bytes = text.bytes();
    return {unicode::offset_of(bytes, static_cast<std::size_t>(begin)),
            unicode::offset_of(bytes, static_cast<std::size_t>(end)), true};
}

template <bool at_start>
Value has_affix(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound(at_start ? "startswith" : "endswith", arguments, {"prefix", "start", "end"}, 1);
    const Text& text = text_of(self);
    const Stretch part = stretch(in.budget(), text, bound, 1);
    if (!part.is_valid) return false;
    const std::string_view bytes = std::string_view(text.bytes()).substr(part.begin, part.end - part.begin);
    const auto matches = [&](const Value& affix) {
        if (affix.is_undefined()) fail_undefined(affix);
        if (!affix.text()) throw Error(fmt::format("startswith and endswith need strings, got '{}'", type_name(affix)));
        in.budget().touch(affix.text()->size());
        return at_start ? bytes.starts_with(affix.text()->bytes()) : bytes.ends_with(affix.text()->bytes());
    };
    const List* several = bound[0].list();
    if (!several || several->shape != List::Shape::tuple) return matches(bound[0]);
    return std::ranges::any_of(several->items, matches);
}

template <bool at_start>
Value remove_affix(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound(at_start ? "removeprefix" : "removesuffix", arguments, {"affix"}, 1);
    const Text& text = text_of(self);
    const std::string& affix = bound.text(0).bytes();
    in.budget().allocate(text.size());
    if (at_start && text.bytes().starts_with(affix)) return text.slice(affix.size(), text.size());
    if (!at_start && text.bytes().ends_with(affix)) return text.slice(0, text.size() - affix.size());
    return self;
}

// The index in code points of `part`, or -1.
std::int64_t index_of(Budget& budget, const Text& text, const Text& part, const Stretch& where, bool from_right) {
    if (!where.is_valid) return -1;
    budget.touch(text.size());
    const std::string_view bytes = std::string_view(text.bytes()).substr(0, where.end);
    std::size_t found = strings::find(bytes, part.bytes(), where.begin);
    if (from_right) {
        budget.touch(text.size() * std::max<std::size_t>(part.size() / 8, 1));
        found = bytes.rfind(part.bytes());
        if (found != std::string_view::npos && found < where.begin) found = std::string_view::npos;
    }
    if (found == std::string_view::npos) return -1;
    return static_cast<std::int64_t>(unicode::count(bytes.substr(0, found)));
}

template <bool from_right, bool must_exist>
Value find(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound(must_exist ? "index" : "find", arguments, {"sub", "start", "end"}, 1);
    const Text& text = text_of(self);
    const Stretch where = stretch(in.budget(), text, bound, 1);
    const std::int64_t found = index_of(in.budget(), text, bound.text(0), where, from_right);
    if (must_exist && found < 0) throw Error("index: the substring is not found");
    return found;
}

Value count_text(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("count", arguments, {"sub", "start", "end"}, 1);
    const Text& text = text_of(self);
    const Stretch where = stretch(in.budget(), text, bound, 1);
    if (!where.is_valid) return std::int64_t{0};
    in.budget().touch(text.size());
    const std::string_view bytes = std::string_view(text.bytes()).substr(0, where.end);
    const std::string& part = bound.text(0).bytes();
    if (part.empty()) return static_cast<std::int64_t>(unicode::count(bytes.substr(where.begin)) + 1);
    std::int64_t n = 0;
    for (std::size_t at = where.begin; (at = strings::find(bytes, part, at)) != std::string_view::npos;) {
        in.budget().step();
        at += part.size();
        ++n;
    }
    return n;
}

Value replace(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
    return strings::replace(in.budget(), text_of(self), bound.text(0), bound.text(1), bound.integer(2, -1));
}

using CaseFunction = Value (*)(Budget&, const Text&);
template <CaseFunction function>
Value change_case(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("a string method", arguments, {});
    return function(in.budget(), text_of(self));
}

Value join(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("join", arguments, {"iterable"}, 1);
    Text result;
    bool first = true;
    for (const Value& item : elements(in.budget(), bound[0])) {
        if (!item.text()) throw Error(fmt::format("join needs strings, got '{}'", type_name(item)));
        if (!first) print(in.budget(), result, self);
        first = false;
        print(in.budget(), result, item);
    }
    return charged(in.budget(), std::move(result));
}

Value format(Interpreter& in, const Value& self, Arguments& arguments) {
    return brace_format(in.budget(), text_of(self), arguments);
}

template <Side side>
Value justify(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("a justifying method", arguments, {"width", "fillchar"}, 1);
    const Text blank(" ");
    const Text* fill = bound.find(1) ? &bound.text(1) : &blank;
    if (unicode::count(fill->bytes()) != 1) throw Error("the fill character must be one character");
    return strings::justify(in.budget(), text_of(self), bound.integer(0, 0), *fill, side);
}

Value zero_fill(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("zfill", arguments, {"width"}, 1);
    const Text& text = text_of(self);
    const bool has_sign = text.bytes().starts_with('-') || text.bytes().starts_with('+');
    const Value padded =
        strings::justify(in.budget(), text.slice(has_sign ? 1 : 0, text.size()),
                         std::max<std::int64_t>(bound.integer(0, 0), 0) - (has_sign ? 1 : 0), Text("0"), Side::right);
    Text result = text.slice(0, has_sign ? 1 : 0);
    result.append(*padded.text());
    return charged(in.budget(), std::move(result));
}

// str.isdigit and the like: all characters are so, and there is at least one.
using Predicate = bool (*)(char32_t) noexcept;
template <Predicate predicate>
Value all_are(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("a string test", arguments, {});
    const std::string& bytes = text_of(self).bytes();
    in.budget().touch(bytes.size());
    for (std::size_t at = 0; at < bytes.size();) {
        const unicode::CodePoint c = unicode::at(bytes, at);
        if (!predicate(c.value)) return false;
        at += c.length;
    }
    return !bytes.empty();
}
bool is_alphanumeric(char32_t c) noexcept {
    return unicode::is_alpha(c) || unicode::is_decimal(c);
}

template <bool to_upper>
Value all_cased(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("a string test", arguments, {});
    return find_test(to_upper ? "upper" : "lower")(in, self, arguments);
}

constexpr NamedMethod string_methods[] = {
    {"capitalize", change_case<strings::capitalize>},
    {"center", justify<Side::both>},
    {"count", count_text},
    {"endswith", has_affix<false>},
    {"find", find<false, false>},
    {"format", format},
    {"index", find<false, true>},
    {"isalnum", all_are<is_alphanumeric>},
    {"isalpha", all_are<unicode::is_alpha>},
    {"isdecimal", all_are<unicode::is_decimal>},
    {"isdigit", all_are<unicode::is_decimal>},
    {"islower", all_cased<false>},
    {"isnumeric", all_are<unicode::is_decimal>},
    {"isspace", all_are<unicode::is_space>},
    {"isupper", all_cased<true>},
    {"join", join},
    {"ljust", justify<Side::left>},
    {"lower", change_case<strings::lower>},
    {"lstrip", strip<Side::left>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rjust", justify<Side::right>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip<Side::right>},
    {"split", split<false>},
    {"splitlines", split_lines},
    {"startswith", has_affix<true>},
    {"strip", strip<Side::both>},
    {"swapcase", change_case<strings::swap_case>},
    {"title", change_case<strings::title>},
    {"upper", change_case<strings::upper>},
    {"zfill", zero_fill},
};

// Dict methods

template <List::Shape shape>
Value view(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("a dict view", arguments, {});
    const Dict& dict = *self.dict();
    charge_list(in.budget(), dict.size() * (shape == List::Shape::items ? 5 : 1));
    std::vector<Value> items;
    for (const auto& [key, value] : dict.entries()) {
        if (shape == List::Shape::keys) items.push_back(key);
        if (shape == List::Shape::values) items.push_back(value);
        if (shape == List::Shape::items) items.push_back(make_tuple({key, value}));
    }
    return List(std::move(items), shape);
}

Value get(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("get", arguments, {"key", "default"}, 1);
    if (const Text* key = bound[0].text()) in.budget().touch(key->size());
    if (const Value* value = self.dict()->find(bound[0])) return *value;
    return bound.find(1) ? bound[1] : Value(None{});
}

Value copy(Interpreter&, const Value& self, Arguments& arguments) {
    const Bound bound("copy", arguments, {});
    return self;
}

constexpr NamedMethod dict_methods[] = {
    {"copy", copy},
    {"get", get},
    {"items", view<List::Shape::items>},
    {"keys", view<List::Shape::keys>},
    {"values", view<List::Shape::values>},
};

// List and tuple methods

Value count_items(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("count", arguments, {"value"}, 1);
    return static_cast<std::int64_t>(std::ranges::count_if(
        self.list()->items, [&](const Value& item) { return equals(in.budget(), item, bound[0]); }));
}

Value index_of_item(Interpreter& in, const Value& self, Arguments& arguments) {
    const Bound bound("index", arguments, {"value"}, 1);
    const std::vector<Value>& items = self.list()->items;
    const auto place =
        std::ranges::find_if(items, [&](const Value& item) { return equals(in.budget(), item, bound[0]); });
    if (place == items.end()) throw Error("index: the value is not in the list");
    return static_cast<std::int64_t>(place - items.begin());
}

constexpr NamedMethod list_methods[] = {
    {"copy", copy},
    {"count", count_items},
    {"index", index_of_item},
};

// What would change a list or dict: there, but not to be touched, as in Jinja's immutable sandbox.
constexpr std::string_view mutating_list_methods[] = {"append", "clear",  "extend",  "insert",
                                                      "pop",    "remove", "reverse", "sort"};
constexpr std::string_view mutating_dict_methods[] = {"clear", "pop", "popitem", "setdefault", "update"};

// Attributes and methods of `loop`

Value cycle(Interpreter&, const Value& self, Arguments& arguments) {
    if (arguments.positional.empty()) throw Error("loop.cycle needs values to cycle through");
    return arguments.positional[self.loop()->index0 % arguments.positional.size()];
}

Value changed(Interpreter& in, const Value& self, Arguments& arguments) {
    Loop& loop = *self.loop();
    bool same = loop.was_changed && loop.changed.size() == arguments.positional.size();
    for (std::size_t i = 0; same && i < loop.changed.size(); ++i) {
        same = equals(in.budget(), loop.changed[i], arguments.positional[i]);
    }
    if (same) return false;
    if (!loop.was_changed) in.adopt(std::get<std::shared_ptr<Loop>>(self.variant()));
    loop.was_changed = true;
    loop.changed = arguments.positional;
    return true;
}

constexpr NamedMethod loop_methods[] = {{"changed", changed}, {"cycle", cycle}};

Value undefined(std::string why) {
    return Undefined{std::make_shared<const std::string>(std::move(why))};
}

std::optional<Value> loop_attribute(const Loop& loop, std::string_view name) {
    const auto index0 = static_cast<std::int64_t>(loop.index0), size = static_cast<std::int64_t>(loop.items.size());
    if (name == "index") return index0 + 1;
    if (name == "index0") return index0;
    if (name == "revindex") return size - index0;
    if (name == "revindex0") return size - index0 - 1;
    if (name == "first") return index0 == 0;
    if (name == "last") return index0 == size - 1;
    if (name == "length") return size;
    if (name == "depth") return loop.depth0 + 1;
    if (name == "depth0") return loop.depth0;
    if (name == "previtem") return index0 > 0 ? loop.items[loop.index0 - 1] : undefined("there is no previous item");
    if (name == "nextitem") {
        return index0 + 1 < size ? loop.items[loop.index0 + 1] : undefined("there is no next item");
    }
    return std::nullopt;
}

Value bind(Budget& budget, const NamedMethod& method, const Value& self) {
    constexpr std::uint64_t size = 160;
    budget.allocate(size);
    auto callable = std::make_shared<Callable>();
    callable->name = method.name;
    callable->call = [function = method.function, self](Interpreter& in, Arguments& arguments) {
        return function(in, self, arguments);
    };
    callable->depth = depth_of(self) + 1;
    return std::shared_ptr<const Callable>(std::move(callable));
}

std::optional<Value> find_method(Budget& budget, std::span<const NamedMethod> methods, std::string_view name,
                                 const Value& self) {
    const auto place = std::ranges::find(methods, name, &NamedMethod::name);
    if (place == methods.end()) return std::nullopt;
    return bind(budget, *place, self);
}

}  // namespace

std::optional<Value> find_attribute(Interpreter& interpreter, const Value& object, std::string_view name) {
    Budget& budget = interpreter.budget();
    const auto is_unsafe = [&](std::span<const std::string_view> names) {
        return std::ranges::find(names, name) != names.end();
    };
    const auto unsafe = [&] {
        return undefined(fmt::format("access to attribute '{}' of a '{}' is unsafe", name, type_name(object)));
    };
    if (object.text()) return find_method(budget, string_methods, name, object);
    if (object.dict()) {
        if (is_unsafe(mutating_dict_methods)) return unsafe();
        return find_method(budget, dict_methods, name, object);
    }
    if (const List* list = object.list()) {
        if (list->shape == List::Shape::list && is_unsafe(mutating_list_methods)) return unsafe();
        if (!list->is_sequence()) return std::nullopt;
        return find_method(budget, list_methods, name, object);
    }
    if (const Namespace* ns = object.name_space()) {
        const Value* value = ns->attributes.find(name);
        return value ? std::optional(*value) : std::nullopt;
    }
    if (const Loop* loop = object.loop()) {
        if (auto value = loop_attribute(*loop, name)) return value;
        return find_method(budget, loop_methods, name, object);
    }
    if (const Callable* callable = object.callable(); callable && name == "name") return make_text(callable->name);
    return std::nullopt;
}

}  // namespace vigil::jinja
