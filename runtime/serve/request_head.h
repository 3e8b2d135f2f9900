// A request's head, read strictly: whoever takes a Content-Length of "abc" for 0 takes the body for the next request.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/serve/limits.h"

namespace vigil::serve {

struct RequestHead {
    std::string method;
    std::string path;              // without the query, its %XX decoded
    bool is_1_1 = true;            // HTTP/1.1, not 1.0
    bool has_body = false;         // of content_length bytes, or in chunks
    bool is_chunked = false;       // Transfer-Encoding: chunked
    bool awaits_continue = false;  // Expect: 100-continue
    bool asks_to_close = false;    // HTTP/1.0 or Connection: close
    std::uint64_t content_length = 0;
    // Values of headers, empty without them. They lie in the head's bytes, and go with them when the body is read.
    std::string_view authorization, content_type, content_encoding;
};

// `bytes`: the request line and the headers up to and with the empty line. Throws ApiError for what is wrong.
RequestHead read_head(std::string_view bytes, const Limits& limits);

// Whether bytes can be the beginning of a request: what is no HTTP at all is refused without waiting for its end.
bool may_begin_request(std::string_view bytes);

}  // namespace vigil::serve
