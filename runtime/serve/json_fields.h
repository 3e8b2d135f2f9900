// Reading a request's JSON: whole documents within limits, and single fields with a message for each way to be wrong.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/serve/limits.h"

namespace vigil::serve {

// As it is read: sorted, so that a body with many members costs no more than one with few.
using InputJson = nlohmann::json;

// The object that `body` is. Throws ApiError for what is no JSON, no UTF-8, no object, too deep or of too many values.
InputJson parse_object(std::string_view body, const Limits& limits);

// Fields of one object. A field that is null counts as absent, as OpenAI has it. All throw ApiError naming the field.
class Fields {
   public:
    // `prefix` stands before the names in messages: "messages[2]."; empty for the request itself.
    explicit Fields(const InputJson& object, std::string prefix = {}) : object_(object), prefix_(std::move(prefix)) {}

    const InputJson* find(const char* name) const;  // null if absent
    std::optional<bool> boolean(const char* name) const;
    std::optional<std::string> text(const char* name) const;
    std::optional<std::int64_t> integer(const char* name, std::int64_t least, std::int64_t most) const;
    std::optional<double> number(const char* name, double least, double most) const;
    // 0 to 2^64 - 1, or -1.
    std::optional<std::uint64_t> seed(const char* name) const;

    std::string path(const char* name) const { return prefix_ + name; }
    [[noreturn]] void wrong_type(const char* name, const InputJson& value, const char* expected) const;

   private:
    const InputJson& object_;
    std::string prefix_;
};

// A value for a message: shortened, one line.
std::string shown(const InputJson& value);

}  // namespace vigil::serve
