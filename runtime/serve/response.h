// The answer to one request, and how it goes out: whole, or piece by piece while it is made.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/serve/api_error.h"
#include "runtime/serve/connection.h"
#include "runtime/serve/request_head.h"

namespace vigil::serve {

// What a stream writes to.
class StreamWriter {
   public:
    StreamWriter(Connection& connection, bool is_chunked) : connection_(connection), is_chunked_(is_chunked) {}

    // Sends what the socket takes now. False: the reader has gone, or does not keep up.
    bool write(std::string_view bytes);

   private:
    Connection& connection_;
    const bool is_chunked_;
};

struct Response {
    int status = 200;
    std::vector<std::pair<std::string, std::string>> headers;  // beside those that every answer has
    std::string type;
    std::string body;
    // Writes the body instead, if there is one. False: it ends in the middle, and the connection with it.
    std::function<bool(StreamWriter&)> stream;

    void set_json(std::string text);
    void set_error(const ApiError& error);
};

// Writes and sends `response` to the request `head`. False: nothing can follow on this connection.
bool send_response(Connection& connection, const RequestHead& head, const Response& response);

}  // namespace vigil::serve
