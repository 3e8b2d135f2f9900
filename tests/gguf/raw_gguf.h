// A GGUF file spelled out field by field, so that a test can break any one of them. It shares nothing with the
// product's writer, which could not write a wrong file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vigil::test {

template <typename T>
std::string raw(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

inline std::string raw_string(std::string_view text) {
    return raw(std::uint64_t{text.size()}).append(text);
}

// Value types as the specification numbers them.
enum RawType : std::uint32_t {
    raw_u8 = 0,
    raw_i8 = 1,
    raw_u16 = 2,
    raw_i16 = 3,
    raw_u32 = 4,
    raw_i32 = 5,
    raw_f32 = 6,
    raw_bool = 7,
    raw_text = 8,
    raw_array = 9,
    raw_u64 = 10,
    raw_i64 = 11,
    raw_f64 = 12,
};

struct RawKeyValue {
    std::string key;  // with its length: raw_string("general.name")
    std::uint32_t type;
    std::string value;
};

struct RawTensor {
    std::string name;  // with its length
    std::vector<std::uint64_t> dims;
    std::uint32_t type;
    std::uint64_t offset;
    std::optional<std::uint32_t> n_dims = {};  // if it should not be dims.size()
};

struct RawFile {
    std::string magic = "GGUF";
    std::uint32_t version = 3;
    std::optional<std::uint64_t> tensor_count = {};  // if it should not be tensors.size()
    std::optional<std::uint64_t> key_count = {};
    std::vector<RawKeyValue> keys = {};
    std::vector<RawTensor> tensors = {};
    std::size_t alignment = 32;
    std::size_t data_bytes = 0;  // filled with 1, 2, 3 …

    std::string header() const {
        std::string bytes =
            magic + raw(version) + raw(tensor_count.value_or(tensors.size())) + raw(key_count.value_or(keys.size()));
        for (const auto& entry : keys) bytes += entry.key + raw(entry.type) + entry.value;
        for (const auto& tensor : tensors) {
            bytes += tensor.name + raw(tensor.n_dims.value_or(static_cast<std::uint32_t>(tensor.dims.size())));
            for (const auto dim : tensor.dims) bytes += raw(dim);
            bytes += raw(tensor.type) + raw(tensor.offset);
        }
        return bytes;
    }

    std::string bytes() const {
        std::string bytes = header();
        bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
        for (std::size_t i = 0; i < data_bytes; ++i) bytes += static_cast<char>(i + 1);
        return bytes;
    }
};

inline RawKeyValue raw_key(std::string_view key, RawType type, std::string value) {
    return {raw_string(key), type, std::move(value)};
}

inline std::string raw_array_head(RawType element, std::uint64_t count) {
    return raw(static_cast<std::uint32_t>(element)) + raw(count);
}

// A small correct file with a value of every type. Its tensors: "a.weight" Q8_0 64 × 2 at offset 0 (136 bytes),
// "b.weight" F32 8 at offset 160.
inline RawFile valid_file() {
    RawFile file;
    file.keys = {
        raw_key("general.architecture", raw_text, raw_string("llama")),
        raw_key("general.alignment", raw_u32, raw(std::uint32_t{32})),
        raw_key("test.u8", raw_u8, raw(std::uint8_t{200})),
        raw_key("test.i8", raw_i8, raw(std::int8_t{-100})),
        raw_key("test.u16", raw_u16, raw(std::uint16_t{60000})),
        raw_key("test.i16", raw_i16, raw(std::int16_t{-30000})),
        raw_key("test.u32", raw_u32, raw(std::uint32_t{4000000000})),
        raw_key("test.i32", raw_i32, raw(std::int32_t{-2000000000})),
        raw_key("test.u64", raw_u64, raw(std::uint64_t{1} << 63)),
        raw_key("test.i64", raw_i64, raw(std::int64_t{-5})),
        raw_key("test.f32", raw_f32, raw(1.5f)),
        raw_key("test.f64", raw_f64, raw(1e300)),
        raw_key("test.bool", raw_bool, raw(std::uint8_t{1})),
        raw_key("test.strings", raw_array, raw_array_head(raw_text, 2) + raw_string("one") + raw_string("")),
        raw_key("test.numbers", raw_array, raw_array_head(raw_i32, 2) + raw(-7) + raw(8)),
        raw_key("test.floats", raw_array, raw_array_head(raw_f32, 1) + raw(0.25f)),
        raw_key("test.empty", raw_array, raw_array_head(raw_u64, 0)),
        raw_key("test.bools", raw_array, raw_array_head(raw_bool, 3) + std::string("\0\1\1", 3)),
        raw_key("test.i8s", raw_array, raw_array_head(raw_i8, 2) + raw(std::int8_t{1}) + raw(std::int8_t{-128})),
        raw_key("test.u16s", raw_array, raw_array_head(raw_u16, 1) + raw(std::uint16_t{65535})),
        raw_key("test.i16s", raw_array, raw_array_head(raw_i16, 1) + raw(std::int16_t{-32768})),
        raw_key("test.doubles", raw_array, raw_array_head(raw_f64, 1) + raw(-1e300)),
        raw_key("test.wide", raw_array, raw_array_head(raw_u64, 1) + raw(~std::uint64_t{0})),
    };
    file.tensors = {{raw_string("a.weight"), {64, 2}, 8, 0}, {raw_string("b.weight"), {8}, 0, 160}};
    file.data_bytes = 192;
    return file;
}

}  // namespace vigil::test
