// The functions that every template finds: Jinja's range, dict and namespace, transformers' raise_exception and
// strftime_now.
#include <algorithm>
#include <ctime>
#include <fmt/format.h>

#include "host/chat/jinja/builtins.h"
#include "host/chat/jinja/error.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/printing.h"

namespace vigil::jinja {
namespace {

// Pairs out of a mapping or a sequence of pairs, then the named arguments: what dict() and namespace() take.
Dict to_dict(Interpreter& in, std::string_view function, const Arguments& arguments) {
    Budget& budget = in.budget();
    Dict dict;
    const auto set = [&](const Value& key, const Value& value) {
        charge_entry(budget, key);
        dict.set(key, value);
    };
    if (arguments.positional.size() > 1) throw Error(fmt::format("{} takes at most one unnamed argument", function));
    if (!arguments.positional.empty()) {
        const Value& source = arguments.positional[0];
        if (source.dict()) {
            for (const auto& [key, value] : source.dict()->entries()) set(key, value);
        } else {
            for (const Value& pair : elements(budget, source)) {
                const std::vector<Value> parts = elements(budget, pair);
                if (parts.size() != 2)
                    throw Error(fmt::format("{} needs pairs, got {} values", function, parts.size()));
                set(parts[0], parts[1]);
            }
        }
    }
    for (const auto& [name, value] : arguments.named) set(make_text(name), value);
    return dict;
}

Value dict_function(Interpreter& in, Arguments& arguments) {
    return to_dict(in, "dict", arguments);
}

Value namespace_function(Interpreter& in, Arguments& arguments) {
    Dict attributes = to_dict(in, "namespace", arguments);
    for (const auto& [key, value] : attributes.entries()) {
        if (key.text() && key.text()->bytes().starts_with('_')) {
            throw Error(fmt::format("a namespace cannot hold '{}': the name begins with '_'", key.text()->bytes()));
        }
    }
    std::shared_ptr<Namespace> ns = in.make_namespace();
    ns->attributes = std::move(attributes);
    return ns;
}

Value range_function(Interpreter& in, Arguments& arguments) {
    const Bound bound("range", arguments, {"start", "stop", "step"}, 1);
    const bool has_start = bound.find(1) != nullptr;
    const std::int64_t start = has_start ? bound.integer(0, 0) : 0;
    const std::int64_t stop = bound.integer(has_start ? 1 : 0, 0), step = bound.integer(2, 1);
    if (step == 0) throw Error("range needs a step other than zero");
    // In unsigned arithmetic, where no difference overflows.
    const auto distance = step > 0 ? static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start)
                                   : static_cast<std::uint64_t>(start) - static_cast<std::uint64_t>(stop);
    const std::uint64_t by =
        step > 0 ? static_cast<std::uint64_t>(step) : std::uint64_t{0} - static_cast<std::uint64_t>(step);
    const bool is_empty = step > 0 ? start >= stop : start <= stop;
    const std::uint64_t count = is_empty ? 0 : (distance - 1) / by + 1;
    if (count > static_cast<std::uint64_t>(longest_range)) {
        throw Error(fmt::format("range is longer than {} numbers", longest_range));
    }
    charge_list(in.budget(), count);
    std::vector<Value> items;
    items.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        items.emplace_back(
            static_cast<std::int64_t>(static_cast<std::uint64_t>(start) + i * static_cast<std::uint64_t>(step)));
    }
    List list(std::move(items), List::Shape::range);
    list.start = start;
    list.stop = stop;
    list.step = step;
    return list;
}

Value raise_exception(Interpreter& in, Arguments& arguments) {
    const Bound bound("raise_exception", arguments, {"message"}, 1);
    const Value message = to_text(in.budget(), bound[0]);
    constexpr std::size_t longest_message = 1000;
    throw Error(fmt::format("the template refuses: {}", message.text()->bytes().substr(0, longest_message)));
}

Value strftime_now(Interpreter& in, Arguments& arguments) {
    const Bound bound("strftime_now", arguments, {"format"}, 1);
    const std::string& format = bound.text(0).bytes();
    constexpr std::size_t longest_format = 256;
    constexpr std::string_view known = "aAbBcdHIjmMpSUwWxXyYZz%eDFTRhntGgVuCkls";
    if (format.size() > longest_format) throw Error("strftime_now got a format that is too long");
    for (std::size_t i = format.find('%'); i != std::string::npos; i = format.find('%', i + 1)) {
        if (i + 1 < format.size() && format[i + 1] == '-') ++i;
        ++i;
        if (i >= format.size() || known.find(format[i]) == std::string_view::npos) {
            throw Error(fmt::format("strftime_now does not support the format '{}'", format));
        }
    }
    if (format.empty()) return make_text("");
    std::string buffer(64 * longest_format, '\0');
    in.budget().allocate(buffer.size());
    buffer.resize(std::strftime(buffer.data(), buffer.size(), format.c_str(), &in.now()));
    return make_text(buffer);
}

struct NamedGlobal {
    std::string_view name;
    Value (*function)(Interpreter&, Arguments&);
};
constexpr NamedGlobal globals[] = {
    {"dict", dict_function},   {"namespace", namespace_function}, {"raise_exception", raise_exception},
    {"range", range_function}, {"strftime_now", strftime_now},
};

}  // namespace

std::optional<Value> find_global(std::string_view name) {
    const auto* const place = std::ranges::find(globals, name, &NamedGlobal::name);
    if (place == std::end(globals)) return std::nullopt;
    auto callable = std::make_shared<Callable>();
    callable->name = place->name;
    callable->call = place->function;
    return std::shared_ptr<const Callable>(std::move(callable));
}

}  // namespace vigil::jinja
