// A request's body as its head announces it: so many bytes, or in chunks.
#pragma once

#include <string>

#include "runtime/serve/connection.h"
#include "runtime/serve/limits.h"
#include "runtime/serve/request_head.h"

namespace vigil::serve {

// Tells a client that waits for it to go on. Throws ApiError: 408 if the body does not come in time, 413 if it is too
// long, 400 if it is not what the head says.
std::string read_body(Connection& connection, const RequestHead& head, const Limits& limits);

}  // namespace vigil::serve
