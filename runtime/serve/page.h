// The page at `/`: page.html, built into the program.
#pragma once

#include <string>

namespace vigil::serve {

struct Page {
    std::string html;
    std::string policy;  // its Content-Security-Policy: its own script and style, its own server, nothing else
};

// With a nonce of its own for each call.
Page make_page();

}  // namespace vigil::serve
