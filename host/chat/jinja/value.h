// What a template computes with: Python's values, as far as chat templates use them.
//
// Strings, lists, tuples and dicts are immutable and shared (transformers renders in an immutable sandbox); only
// namespaces and half-read iterators change.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "host/chat/jinja/text.h"

namespace vigil::jinja {

class Interpreter;
class Value;
struct Arguments;
struct List;
class Dict;
struct Namespace;
struct Iterator;
struct Callable;
struct Loop;

// Jinja's Undefined: prints as nothing, iterates as empty, fails in any other use with `why`.
struct Undefined {
    std::shared_ptr<const std::string> why;
};
struct None {};

class Value {
   public:
    using Variant = std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const Text>,
                                 std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                                 std::shared_ptr<Iterator>, std::shared_ptr<const Callable>, std::shared_ptr<Loop>>;

    // Whatever a template can hold is a Value without further ado.
    // NOLINTBEGIN(google-explicit-constructor)
    Value() = default;
    Value(None) : variant_(None{}) {}
    Value(Undefined undefined) : variant_(std::move(undefined)) {}
    Value(bool b) : variant_(b) {}
    Value(std::int64_t i) : variant_(i) {}
    Value(double d) : variant_(d) {}
    Value(Text text) : variant_(std::make_shared<const Text>(std::move(text))) {}
    Value(List list);
    Value(Dict dict);
    Value(std::shared_ptr<const Text> text) : variant_(std::move(text)) {}
    Value(std::shared_ptr<const List> list) : variant_(std::move(list)) {}
    Value(std::shared_ptr<const Dict> dict) : variant_(std::move(dict)) {}
    Value(std::shared_ptr<Namespace> ns) : variant_(std::move(ns)) {}
    Value(std::shared_ptr<Iterator> iterator) : variant_(std::move(iterator)) {}
    Value(std::shared_ptr<const Callable> callable) : variant_(std::move(callable)) {}
    Value(std::shared_ptr<Loop> loop) : variant_(std::move(loop)) {}
    Value(const char*) = delete;
    // NOLINTEND(google-explicit-constructor)

    // nullptr if the value is of another type.
    const bool* boolean() const noexcept { return std::get_if<bool>(&variant_); }
    const std::int64_t* integer() const noexcept { return std::get_if<std::int64_t>(&variant_); }
    const double* floating() const noexcept { return std::get_if<double>(&variant_); }
    const Text* text() const noexcept { return pointee<const Text>(); }
    const List* list() const noexcept { return pointee<const List>(); }
    const Dict* dict() const noexcept { return pointee<const Dict>(); }
    Namespace* name_space() const noexcept { return pointee<Namespace>(); }
    Iterator* iterator() const noexcept { return pointee<Iterator>(); }
    const Callable* callable() const noexcept { return pointee<const Callable>(); }
    Loop* loop() const noexcept { return pointee<Loop>(); }
    bool is_none() const noexcept { return std::holds_alternative<None>(variant_); }
    bool is_undefined() const noexcept { return std::holds_alternative<Undefined>(variant_); }
    const Variant& variant() const noexcept { return variant_; }

   private:
    template <class T>
    T* pointee() const noexcept {
        const auto* pointer = std::get_if<std::shared_ptr<T>>(&variant_);
        return pointer ? pointer->get() : nullptr;
    }
    Variant variant_;
};

// A sequence of values. Views and ranges differ from lists in how they print, compare and index only.
struct List {
    enum class Shape : std::uint8_t { list, tuple, range, keys, values, items };

    explicit List(std::vector<Value> values, Shape form = Shape::list);
    bool is_sequence() const noexcept { return shape == Shape::list || shape == Shape::tuple || shape == Shape::range; }

    std::vector<Value> items;
    Shape shape;
    int depth;                                   // of nesting, at least 1
    std::int64_t start = 0, stop = 0, step = 1;  // of a range
};

// A mapping in order of insertion. Keys are strings or other hashable values; 1, 1.0 and True are one key.
class Dict {
   public:
    using Entry = std::pair<Value, Value>;

    // Throws Error for a key that Python could not hash.
    void set(const Value& key, Value value);
    void put(std::string_view key, Value value) { set(Value(Text(key)), std::move(value)); }
    const Value* find(const Value& key) const;
    const Value* find(std::string_view key) const;
    const std::vector<Entry>& entries() const noexcept { return entries_; }
    std::size_t size() const noexcept { return entries_.size(); }
    int depth() const noexcept { return depth_; }

   private:
    std::vector<Entry> entries_;
    std::unordered_map<std::string, std::size_t> by_key_;  // see hash_key
    int depth_ = 1;
};

// namespace(): the one thing whose attributes a template may set. The interpreter owns them all and empties them in the
// end, so cycles are freed.
struct Namespace {
    Dict attributes;
};

// What filters such as map give: values to be read once.
struct Iterator {
    explicit Iterator(std::vector<Value> values);
    std::vector<Value> items;
    std::size_t next = 0;
    int depth;
};

struct Callable {
    std::string name;  // as error messages and `print` show it
    std::function<Value(Interpreter&, Arguments&)> call;
    int depth = 0;  // of the value that a bound method holds
};

// The variable `loop` of a for loop.
struct Loop {
    explicit Loop(std::vector<Value> values);
    std::vector<Value> items;
    int depth;
    std::size_t index0 = 0;
    std::int64_t depth0 = 0;
    std::vector<Value> changed;  // the values of the last call of loop.changed
    bool was_changed = false;
    std::function<Value(Interpreter&, const Value&)> recurse;  // runs the body over other items; empty unless recursive
};

// Python's name of the value's type, for error messages.
std::string_view type_name(const Value& value) noexcept;
// How many levels of values hang below it. Every holder of values counts, and none may exceed deepest_value: freeing,
// printing and comparing recurse.
int depth_of(const Value& value) noexcept;
// A text in which equal keys, and only those, are equal. Throws Error for an unhashable value or an oversized tuple.
std::string hash_key(const Value& value);

Value make_text(std::string_view bytes, bool is_data = false);
Value make_tuple(std::vector<Value> items);

}  // namespace vigil::jinja
