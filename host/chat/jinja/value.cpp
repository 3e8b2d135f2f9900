#include "host/chat/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "host/chat/jinja/budget.h"
#include "host/chat/jinja/error.h"

namespace vigil::jinja {
namespace {

int check_depth(int depth) {
    if (depth > deepest_value) throw Error(fmt::format("a value nests deeper than {} levels", deepest_value));
    return depth;
}

int deepest_of(const std::vector<Value>& values) {
    int depth = 0;
    for (const Value& value : values) depth = std::max(depth, depth_of(value));
    return depth;
}

}  // namespace

Value::Value(List list) : variant_(std::make_shared<const List>(std::move(list))) {}
Value::Value(Dict dict) : variant_(std::make_shared<const Dict>(std::move(dict))) {}

List::List(std::vector<Value> values, Shape form)
    : items(std::move(values)), shape(form), depth(check_depth(1 + deepest_of(items))) {}
Iterator::Iterator(std::vector<Value> values) : items(std::move(values)), depth(check_depth(1 + deepest_of(items))) {}
Loop::Loop(std::vector<Value> values) : items(std::move(values)), depth(check_depth(1 + deepest_of(items))) {}

void Dict::set(const Value& key, Value value) {
    depth_ = check_depth(std::max({depth_, 1 + depth_of(key), 1 + depth_of(value)}));
    const auto [place, is_new] = by_key_.try_emplace(hash_key(key), entries_.size());
    if (is_new) {
        entries_.emplace_back(key, std::move(value));
    } else {
        entries_[place->second].second = std::move(value);
    }
}

const Value* Dict::find(const Value& key) const {
    const auto place = by_key_.find(hash_key(key));
    return place == by_key_.end() ? nullptr : &entries_[place->second].second;
}

const Value* Dict::find(std::string_view key) const {
    const auto place = by_key_.find(fmt::format("s{}", key));
    return place == by_key_.end() ? nullptr : &entries_[place->second].second;
}

std::string_view type_name(const Value& value) noexcept {
    struct Name {
        std::string_view operator()(const Undefined&) const { return "Undefined"; }
        std::string_view operator()(const None&) const { return "NoneType"; }
        std::string_view operator()(bool) const { return "bool"; }
        std::string_view operator()(std::int64_t) const { return "int"; }
        std::string_view operator()(double) const { return "float"; }
        std::string_view operator()(const std::shared_ptr<const Text>&) const { return "str"; }
        std::string_view operator()(const std::shared_ptr<const List>& list) const {
            switch (list->shape) {
                case List::Shape::list:
                    return "list";
                case List::Shape::tuple:
                    return "tuple";
                case List::Shape::range:
                    return "range";
                case List::Shape::keys:
                    return "dict_keys";
                case List::Shape::values:
                    return "dict_values";
                case List::Shape::items:
                    return "dict_items";
            }
            return "list";
        }
        std::string_view operator()(const std::shared_ptr<const Dict>&) const { return "dict"; }
        std::string_view operator()(const std::shared_ptr<Namespace>&) const { return "Namespace"; }
        std::string_view operator()(const std::shared_ptr<Iterator>&) const { return "generator"; }
        std::string_view operator()(const std::shared_ptr<const Callable>&) const { return "function"; }
        std::string_view operator()(const std::shared_ptr<Loop>&) const { return "LoopContext"; }
    };
    return std::visit(Name{}, value.variant());
}

int depth_of(const Value& value) noexcept {
    if (const List* list = value.list()) return list->depth;
    if (const Dict* dict = value.dict()) return dict->depth();
    if (const Iterator* iterator = value.iterator()) return iterator->depth;
    if (const Callable* callable = value.callable()) return callable->depth;
    if (const Loop* loop = value.loop()) return loop->depth;
    return 0;
}

std::string hash_key(const Value& value) {
    if (const Text* text = value.text()) return fmt::format("s{}", text->bytes());
    if (const bool* b = value.boolean()) return *b ? "i1" : "i0";
    if (const std::int64_t* i = value.integer()) return fmt::format("i{}", *i);
    if (const double* d = value.floating()) {
        constexpr double exact = 9007199254740992.0;  // 2^53: below it every whole float is that integer
        if (std::trunc(*d) == *d && std::abs(*d) <= exact) return fmt::format("i{}", static_cast<std::int64_t>(*d));
        return fmt::format("f{}", *d);
    }
    if (value.is_none()) return "n";
    if (value.is_undefined()) return "u";
    if (const List* list = value.list(); list && list->shape == List::Shape::tuple) {
        std::string key = "t";
        for (const Value& item : list->items) {
            const std::string part = hash_key(item);
            key += fmt::format("{}:{}", part.size(), part);
            // Tuples may share their parts, so a small value can spell a huge key.
            constexpr std::size_t longest_key = 1 << 16;
            if (key.size() > longest_key) throw Error("a tuple is too large to be a key");
        }
        return key;
    }
    if (value.list() || value.dict()) throw Error(fmt::format("unhashable type: '{}'", type_name(value)));
    // The rest are what they are: equal only to themselves.
    const void* identity = value.name_space();
    if (!identity) identity = value.iterator();
    if (!identity) identity = value.callable();
    if (!identity) identity = value.loop();
    return fmt::format("p{}", identity);
}

Value make_text(std::string_view bytes, bool is_data) {
    return Text(bytes, is_data);
}

Value make_tuple(std::vector<Value> items) {
    return List(std::move(items), List::Shape::tuple);
}

}  // namespace vigil::jinja
