#include "host/gguf/split.h"

#include <algorithm>
#include <fmt/format.h>
#include <string_view>

namespace vigil::gguf {
namespace {

constexpr std::string_view pattern = "-00000-of-00000.gguf";  // a digit for every 0

}  // namespace

std::optional<SplitName> parse_split_name(const std::filesystem::path& path) {
    const std::string text = path.string();
    if (text.size() < pattern.size()) return std::nullopt;
    const auto tail = std::string_view(text).substr(text.size() - pattern.size());
    const bool matches = std::equal(tail.begin(), tail.end(), pattern.begin(), [](char c, char expected) {
        return expected == '0' ? c >= '0' && c <= '9' : c == expected;
    });
    if (!matches) return std::nullopt;
    const auto number_at = [&](std::size_t at) {
        std::uint32_t number = 0;
        for (const char digit : tail.substr(at, 5)) number = number * 10 + static_cast<std::uint32_t>(digit - '0');
        return number;
    };
    return SplitName{text.substr(0, text.size() - pattern.size()), number_at(1), number_at(10)};
}

std::filesystem::path split_path(const std::filesystem::path& prefix, std::uint32_t number, std::uint32_t count) {
    return fmt::format("{}-{:05}-of-{:05}.gguf", prefix.string(), number, count);
}

}  // namespace vigil::gguf
