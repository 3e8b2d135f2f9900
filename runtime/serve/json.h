// JSON as the server writes it: members in the order given, one line.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace vigil::serve {

using Json = nlohmann::ordered_json;

// Bytes that are no UTF-8 become U+FFFD, numbers that are not finite null.
inline std::string dump(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vigil::serve
