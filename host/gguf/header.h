// Parses and checks the header of one GGUF file: metadata and tensor directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "host/gguf/gguf.h"

namespace vigil::gguf {

// All views point into the bytes that were parsed.
struct Header {
    std::string file;  // its name, for error messages
    std::uint32_t version = 0;
    std::vector<KeyValue> metadata;
    std::vector<std::uint64_t> value_offsets;  // byte offset of each metadata value
    std::vector<TensorInfo> tensors;
    std::unordered_map<std::string_view, std::size_t> key_index;
    std::unordered_map<std::string_view, std::size_t> tensor_index;

    const KeyValue* find(std::string_view key) const noexcept;

    // The value of `key`, which must be an integer of 32 bits or less without a sign.
    std::uint32_t u32(const KeyValue& entry) const;

    // Error "FILE: key 'KEY': problem (at byte OFFSET)"; `entry` is one of `metadata`.
    Error error(const KeyValue& entry, std::string_view problem) const;
};

// `file` is the name for error messages. Throws gguf::Error.
Header parse_header(const std::string& file, std::span<const std::byte> bytes);

// "the uint32 7", "the string 'x'", "an array of 3 int32": a value for error messages.
std::string describe(const KeyValue& entry);

}  // namespace vigil::gguf
