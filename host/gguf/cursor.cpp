#include "host/gguf/cursor.h"

#include <fmt/format.h>
#include <iterator>

#include "host/gguf/gguf.h"

namespace vigil::gguf {

std::string_view Cursor::string(std::string_view field) {
    const std::uint64_t start = offset_;
    const auto length = number<std::uint64_t>(field);
    if (length > remaining()) {
        fail(start, fmt::format("the length {} of the {} is more than the {} bytes left in the file", length, field,
                                remaining()));
    }
    const auto bytes = take(length, field);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> Cursor::take(std::uint64_t size, std::string_view field) {
    if (size > remaining()) {
        fail(offset_, fmt::format("the file ends inside the {}: {} bytes needed, {} left", field, size, remaining()));
    }
    const auto taken = bytes_.subspan(offset_, size);
    offset_ += size;
    return taken;
}

void Cursor::fail(std::uint64_t offset, std::string_view problem) const {
    throw Error(fmt::format("{}: {}: {} (at byte {})", file_, subject_, problem, offset));
}

std::string in_quotes(std::string_view text) {
    constexpr std::size_t longest = 100;
    std::string result = "'";
    for (const char c : text.substr(0, longest)) {
        if (c >= ' ' && c <= '~') {
            result += c;
        } else {
            fmt::format_to(std::back_inserter(result), "\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
    if (text.size() > longest) result += "…";
    return result + "'";
}

}  // namespace vigil::gguf
