// What is wrong with a request or with the server, in the shape that OpenAI's API gives it.
#pragma once

#include <stdexcept>
#include <string>

namespace vigil::serve {

// An HTTP status from 400 up, and {"error": {"message", "type", "param", "code"}}. `param` and `code` are null if
// empty.
class ApiError : public std::runtime_error {
   public:
    ApiError(int the_status, const std::string& message, std::string the_type, std::string the_param = {},
             std::string the_code = {})
        : std::runtime_error(message),
          status(the_status),
          type(std::move(the_type)),
          param(std::move(the_param)),
          code(std::move(the_code)) {}

    std::string json() const;

    int status;
    std::string type, param, code;
};

// 400, type invalid_request_error: the client has to change `param`.
ApiError invalid_request(const std::string& message, std::string param = {}, std::string code = {});
// The phrase of a status line.
const char* reason_phrase(int status);

}  // namespace vigil::serve
