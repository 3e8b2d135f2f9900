// The arguments of a call, and their assignment to parameters.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/chat/jinja/value.h"

namespace vigil::jinja {

struct Arguments {
    std::vector<Value> positional;
    std::vector<std::pair<std::string, Value>> named;
};

// Arguments in the order of the parameters they were given for.
class Bound {
   public:
    // Throws Error naming `function` for an argument too many, given twice, unknown, or missing among the first
    // `required`.
    Bound(std::string_view function, const Arguments& arguments, std::initializer_list<std::string_view> parameters,
          std::size_t required = 0);

    // The argument, or nullptr where it was left out.
    const Value* find(std::size_t parameter) const noexcept { return values_[parameter]; }
    const Value& operator[](std::size_t parameter) const noexcept { return *values_[parameter]; }
    bool truth(std::size_t parameter, bool fallback) const;
    // Throws Error if the argument is no integer.
    std::int64_t integer(std::size_t parameter, std::int64_t fallback) const;
    // Throws Error if the argument is no string.
    const Text& text(std::size_t parameter) const;

   private:
    std::string function_;
    std::vector<std::string_view> names_;
    std::vector<const Value*> values_;
};

}  // namespace vigil::jinja
