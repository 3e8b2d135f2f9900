// Split sets: one model in several files, PREFIX-00001-of-00003.gguf and so on (llama.cpp's gguf-split).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace vigil::gguf {

struct SplitName {
    std::filesystem::path prefix;  // with its folder, up to the dash before the number
    std::uint32_t number;          // counted from 1, as in the name
    std::uint32_t count;
};

// Nothing if `path` does not end in -NNNNN-of-NNNNN.gguf.
std::optional<SplitName> parse_split_name(const std::filesystem::path& path);

// PREFIX-NNNNN-of-NNNNN.gguf; `number` counts from 1.
std::filesystem::path split_path(const std::filesystem::path& prefix, std::uint32_t number, std::uint32_t count);

}  // namespace vigil::gguf
