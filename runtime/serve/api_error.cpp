#include "runtime/serve/api_error.h"

#include <utility>

#include "runtime/serve/json.h"

namespace vigil::serve {
namespace {

Json text_or_null(const std::string& text) {
    return text.empty() ? Json() : Json(text);
}

}  // namespace

std::string ApiError::json() const {
    return dump(
        {{"error",
          {{"message", what()}, {"type", type}, {"param", text_or_null(param)}, {"code", text_or_null(code)}}}});
}

ApiError invalid_request(const std::string& message, std::string param, std::string code) {
    return {400, message, "invalid_request_error", std::move(param), std::move(code)};
}

const char* reason_phrase(int status) {
    switch (status) {
        case 200:
            return "OK";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 411:
            return "Length Required";
        case 413:
            return "Payload Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 503:
            return "Service Unavailable";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return status >= 500 ? "Server Error" : "Client Error";
    }
}

}  // namespace vigil::serve
