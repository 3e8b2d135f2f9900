#include "host/tokenizer/quoted.h"

#include <fmt/format.h>

#include "host/tokenizer/utf8.h"

namespace vigil {

std::string quoted(std::string_view value) {
    constexpr std::size_t most = 80;
    std::string out = utf8::replace_invalid_bytes(value.substr(0, most));
    for (char& c : out) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    }
    return fmt::format("'{}{}'", out, value.size() > most ? "…" : "");
}

}  // namespace vigil
