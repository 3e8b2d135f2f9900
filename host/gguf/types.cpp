// The tensor types: ggml's numbers, names and block sizes (ggml.h, ggml-common.h).
#include "host/gguf/types.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fmt/format.h>
#include <utility>

namespace vigil::gguf {
namespace {

// To add a type: a line here, its unpacking in dequantize.cpp, and golden data (see docs/gguf.md).
constexpr std::array type_table{
    TypeTraits{TensorType::F32, "F32", 1, 4, true},
    TypeTraits{TensorType::F16, "F16", 1, 2, true},
    TypeTraits{TensorType::BF16, "BF16", 1, 2, true},
    TypeTraits{TensorType::Q4_0, "Q4_0", 32, 18, true},
    TypeTraits{TensorType::Q4_1, "Q4_1", 32, 20, true},
    TypeTraits{TensorType::Q5_0, "Q5_0", 32, 22, true},
    TypeTraits{TensorType::Q5_1, "Q5_1", 32, 24, true},
    TypeTraits{TensorType::Q8_0, "Q8_0", 32, 34, true},
    TypeTraits{TensorType::Q2_K, "Q2_K", 256, 84, false},
    TypeTraits{TensorType::Q3_K, "Q3_K", 256, 110, false},
    TypeTraits{TensorType::Q4_K, "Q4_K", 256, 144, true},
    TypeTraits{TensorType::Q5_K, "Q5_K", 256, 176, true},
    TypeTraits{TensorType::Q6_K, "Q6_K", 256, 210, true},
    TypeTraits{TensorType::IQ4_NL, "IQ4_NL", 32, 18, false},
    TypeTraits{TensorType::IQ4_XS, "IQ4_XS", 256, 136, false},
    TypeTraits{TensorType::MXFP4, "MXFP4", 32, 17, false},
};

// Types that occur in files but that vigil cannot size: named so that an error says more than a number.
constexpr std::array<std::pair<std::uint32_t, std::string_view>, 18> other_types{{
    {9, "Q8_1"},
    {15, "Q8_K"},
    {16, "IQ2_XXS"},
    {17, "IQ2_XS"},
    {18, "IQ3_XXS"},
    {19, "IQ1_S"},
    {21, "IQ3_S"},
    {22, "IQ2_S"},
    {24, "I8"},
    {25, "I16"},
    {26, "I32"},
    {27, "I64"},
    {28, "F64"},
    {29, "IQ1_M"},
    {34, "TQ1_0"},
    {35, "TQ2_0"},
    {4, "Q4_2"},
    {5, "Q4_3"},
}};

struct ValueTypeTraits {
    std::string_view name;
    std::uint32_t width;
};

// Indexed by ValueType.
constexpr std::array<ValueTypeTraits, 13> value_types{{
    {"uint8", 1},
    {"int8", 1},
    {"uint16", 2},
    {"int16", 2},
    {"uint32", 4},
    {"int32", 4},
    {"float32", 4},
    {"bool", 1},
    {"string", 0},
    {"array", 0},
    {"uint64", 8},
    {"int64", 8},
    {"float64", 8},
}};

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return std::toupper(static_cast<unsigned char>(x)) == std::toupper(static_cast<unsigned char>(y));
    });
}

}  // namespace

const TypeTraits* find_type(std::uint32_t type) noexcept {
    const auto found = std::find_if(type_table.begin(), type_table.end(),
                                    [&](const TypeTraits& t) { return static_cast<std::uint32_t>(t.type) == type; });
    return found == type_table.end() ? nullptr : &*found;
}

const TypeTraits& traits(TensorType type) {
    if (const auto* found = find_type(static_cast<std::uint32_t>(type))) return *found;
    throw Error(fmt::format("tensor type {} is not in the table of types", static_cast<std::uint32_t>(type)));
}

const TypeTraits* find_type(std::string_view name) noexcept {
    const auto found = std::find_if(type_table.begin(), type_table.end(),
                                    [&](const TypeTraits& t) { return equal_ignoring_case(t.name, name); });
    return found == type_table.end() ? nullptr : &*found;
}

std::uint32_t value_width(ValueType type) noexcept {
    const auto index = static_cast<std::uint32_t>(type);
    return index < value_types.size() ? value_types[index].width : 0;
}

std::string_view value_type_name(ValueType type) noexcept {
    const auto index = static_cast<std::uint32_t>(type);
    return index < value_types.size() ? value_types[index].name : "unknown";
}

std::string describe_tensor_type(std::uint32_t type) {
    if (const auto* known = find_type(type)) return fmt::format("{} ({})", known->name, type);
    const auto found =
        std::find_if(other_types.begin(), other_types.end(), [&](const auto& entry) { return entry.first == type; });
    return fmt::format("{} ({})", found == other_types.end() ? "unknown" : found->second, type);
}

std::string supported_type_names() {
    std::string names;
    for (const auto& type : type_table) {
        if (!type.supported) continue;
        if (!names.empty()) names += ", ";
        names += type.name;
    }
    return names;
}

}  // namespace vigil::gguf
