// From a text to the token it names; looked up with views, without a copy.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "host/tokenizer/token.h"

namespace vigil {

struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};

using TextIndex = std::unordered_map<std::string, Token, TextHash, std::equal_to<>>;

inline constexpr Token no_token = -1;

inline Token find_text(const TextIndex& index, std::string_view text) {
    const auto it = index.find(text);
    return it == index.end() ? no_token : it->second;
}

}  // namespace vigil
