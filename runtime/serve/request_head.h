// A strict look at a request's head before the HTTP library reads it. The library is lenient: it takes a
// Content-Length of "abc" for 0 and the body for the next request, skips lines that it does not understand, and cuts
// answers to what a Range header says.
#pragma once

#include <string_view>

#include "runtime/serve/limits.h"

namespace vigil::serve {

struct RequestHead {
    bool has_body = false;
    bool asks_to_close = false;  // HTTP/1.0 or Connection: close
};

// `head` is the request line and the headers up to and with the empty line. Throws ApiError for what must not reach
// the library.
RequestHead check_head(std::string_view head, const Limits& limits);

// Whether bytes can be the beginning of a request: what is no HTTP at all is refused without waiting for its end.
bool may_begin_request(std::string_view bytes);

}  // namespace vigil::serve
