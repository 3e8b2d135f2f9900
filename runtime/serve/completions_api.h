// POST /v1/chat/completions and /v1/completions: from the body to the answer, streamed or whole.
#pragma once

#include "runtime/serve/http_server.h"
#include "runtime/serve/service.h"

namespace vigil::serve {

void chat_completions(Service& service, Exchange& exchange);
void completions(Service& service, Exchange& exchange);

}  // namespace vigil::serve
