// What a client may take of the server: bytes, time, connections.
#pragma once

#include <chrono>
#include <cstddef>

namespace vigil::serve {

struct Limits {
    std::size_t head_bytes = 32 << 10;           // request line and headers
    std::size_t line_bytes = 8000;               // one of their lines
    std::size_t body_bytes = 4 << 20;            // decoded
    std::size_t json_depth = 32;                 // arrays and objects within each other
    std::size_t json_values = 1 << 19;           // in one body: a long prompt as token ids, and no tree of empty arrays
    std::size_t unsent_bytes = 4 << 20;          // of an answer that its reader has not taken yet
    int socket_buffer = 128 << 10;               // of an answer, in the operating system
    std::size_t connections = 512;               // open at once; further ones get 503
    std::chrono::milliseconds idle{15'000};      // between two requests of a connection
    std::chrono::milliseconds head{10'000};      // from a request's first byte to the end of its head
    std::chrono::milliseconds body{30'000};      // from there to the end of its body
    std::chrono::milliseconds write{10'000};     // a reader that takes nothing for this long
    std::chrono::milliseconds request{600'000};  // from the whole request to the end of the generation
};

}  // namespace vigil::serve
