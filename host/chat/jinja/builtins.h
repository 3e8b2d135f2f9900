// Everything a template can call by name: filters, tests, global functions, and methods and attributes of values.
#pragma once

#include <optional>
#include <string_view>

#include "host/chat/jinja/arguments.h"
#include "host/chat/jinja/interpreter.h"
#include "host/chat/jinja/value.h"

namespace vigil::jinja {

using FilterFunction = Value (*)(Interpreter&, const Value& subject, Arguments&);
using TestFunction = bool (*)(Interpreter&, const Value& subject, Arguments&);

struct NamedFilter {
    std::string_view name;
    FilterFunction function;
};
struct NamedTest {
    std::string_view name;
    TestFunction function;
};

// nullptr for a name that vigil does not know.
FilterFunction find_filter(std::string_view name) noexcept;
TestFunction find_test(std::string_view name) noexcept;
std::optional<Value> find_global(std::string_view name);

// A method or attribute as Python's getattr would find it; nothing if there is none.
std::optional<Value> find_attribute(Interpreter& interpreter, const Value& object, std::string_view name);

}  // namespace vigil::jinja
