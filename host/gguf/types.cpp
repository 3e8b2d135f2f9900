// The tensor types: ggml's numbers, names and block sizes (ggml.h, ggml-common.h).
#include "host/gguf/types.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fmt/format.h>
#include <utility>

#include "host/gguf/blocks.h"

namespace vigil::gguf {
namespace {

template <typename Block>
constexpr TypeTraits traits_of(TensorType type, std::string_view name) {
    return {type, name, Block::n_weights, sizeof(Block)};
}

// To add a type, see docs/gguf.md.
constexpr std::array type_table{
    TypeTraits{TensorType::F32, "F32", 1, 4},
    TypeTraits{TensorType::F16, "F16", 1, 2},
    TypeTraits{TensorType::BF16, "BF16", 1, 2},
    traits_of<BlockQ4_0>(TensorType::Q4_0, "Q4_0"),
    traits_of<BlockQ4_1>(TensorType::Q4_1, "Q4_1"),
    traits_of<BlockQ5_0>(TensorType::Q5_0, "Q5_0"),
    traits_of<BlockQ5_1>(TensorType::Q5_1, "Q5_1"),
    traits_of<BlockQ8_0>(TensorType::Q8_0, "Q8_0"),
    traits_of<BlockQ2_K>(TensorType::Q2_K, "Q2_K"),
    traits_of<BlockQ3_K>(TensorType::Q3_K, "Q3_K"),
    traits_of<BlockQ4_K>(TensorType::Q4_K, "Q4_K"),
    traits_of<BlockQ5_K>(TensorType::Q5_K, "Q5_K"),
    traits_of<BlockQ6_K>(TensorType::Q6_K, "Q6_K"),
    traits_of<BlockIQ4_NL>(TensorType::IQ4_NL, "IQ4_NL"),
    traits_of<BlockIQ4_XS>(TensorType::IQ4_XS, "IQ4_XS"),
    traits_of<BlockMXFP4>(TensorType::MXFP4, "MXFP4"),
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

std::string type_names() {
    std::string names;
    for (const auto& type : type_table) {
        if (!names.empty()) names += ", ";
        names += type.name;
    }
    return names;
}

}  // namespace vigil::gguf
