// JSON for standard output.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace vigil::program {

using Json = nlohmann::ordered_json;

// One line of JSON with its newline. Bytes that are no UTF-8 become U+FFFD, numbers that are not finite null.
inline std::string json_line(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace vigil::program
