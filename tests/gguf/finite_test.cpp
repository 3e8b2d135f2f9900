// Infinite and NaN scales in blocks of every type, and the message that names the place.
#include "host/gguf/finite.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <random>
#include <string>
#include <vector>

#include "host/gguf/dequantize.h"
#include "host/gguf/writer.h"
#include "tests/gguf/temporary_folder.h"

using namespace vigil;
using namespace vigil::test;
using doctest::Contains;
using gguf::TensorType;

namespace {

constexpr std::uint16_t half_infinity = 0x7c00;
constexpr std::uint16_t half_nan = 0x7e01;
constexpr std::uint16_t half_largest = 0xfbff;

struct Scale {
    TensorType type;
    std::size_t offset;  // of the half in the block
    std::string name;
};

// Offsets as in make_golden.py, which has them from the reference.
const std::vector<Scale> scales{
    {TensorType::Q4_0, 0, "d"},   {TensorType::Q4_1, 0, "d"},    {TensorType::Q4_1, 2, "m"},
    {TensorType::Q5_0, 0, "d"},   {TensorType::Q5_1, 0, "d"},    {TensorType::Q5_1, 2, "m"},
    {TensorType::Q8_0, 0, "d"},   {TensorType::Q2_K, 80, "d"},   {TensorType::Q2_K, 82, "dmin"},
    {TensorType::Q3_K, 108, "d"}, {TensorType::Q4_K, 0, "d"},    {TensorType::Q4_K, 2, "dmin"},
    {TensorType::Q5_K, 0, "d"},   {TensorType::Q5_K, 2, "dmin"}, {TensorType::Q6_K, 208, "d"},
    {TensorType::IQ4_NL, 0, "d"}, {TensorType::IQ4_XS, 0, "d"},
};

// Three blocks whose quants are all ones, the pattern of a NaN, and whose scales are the largest there are.
std::vector<std::byte> three_blocks(TensorType type) {
    std::vector<std::byte> blocks(3 * gguf::traits(type).block_bytes, std::byte{0xff});
    for (const auto& scale : scales) {
        if (scale.type != type) continue;
        for (std::size_t i = 0; i < 3; ++i) {
            std::memcpy(blocks.data() + i * gguf::traits(type).block_bytes + scale.offset, &half_largest, 2);
        }
    }
    return blocks;
}

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(T));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

}  // namespace

TEST_CASE("blocks with the largest finite scales and any quants are accepted") {
    for (const auto& scale : scales) {
        CAPTURE(gguf::traits(scale.type).name);
        CHECK_FALSE(gguf::find_not_finite(scale.type, three_blocks(scale.type)).has_value());
    }
}

TEST_CASE("an infinite or NaN scale is found in every type, with block and name") {
    for (const auto& scale : scales) {
        for (const auto bits : {half_infinity, half_nan}) {
            CAPTURE(gguf::traits(scale.type).name);
            CAPTURE(scale.name);
            auto blocks = three_blocks(scale.type);
            std::memcpy(blocks.data() + 2 * gguf::traits(scale.type).block_bytes + scale.offset, &bits, 2);
            const auto found = gguf::find_not_finite(scale.type, blocks);
            REQUIRE(found.has_value());
            CHECK(found->block == 2);
            CHECK(found->what == "the scale " + scale.name + (bits == half_nan ? " is nan" : " is inf"));
        }
    }
}

TEST_CASE("an exponent of MXFP4 whose weights pass FP32 is found") {
    std::vector<std::byte> blocks(3 * 17);
    blocks[17] = std::byte{252};
    CHECK_FALSE(gguf::find_not_finite(TensorType::MXFP4, blocks).has_value());
    for (const int exponent : {253, 254, 255}) {
        blocks[17] = std::byte(exponent);
        const auto found = gguf::find_not_finite(TensorType::MXFP4, blocks);
        REQUIRE(found.has_value());
        CHECK(found->block == 1);
        CHECK(found->what == "the exponent is " + std::to_string(exponent) + ", above 252");
    }
}

TEST_CASE("a plain weight that is infinite or NaN is found") {
    const auto place = [](TensorType type, const std::vector<std::byte>& values) {
        const auto found = gguf::find_not_finite(type, values);
        return found ? static_cast<int>(found->block) : -1;
    };
    CHECK(place(TensorType::F16, bytes_of<std::uint16_t>({0, 0x7bff, 0xfbff, 0x0001})) == -1);
    CHECK(place(TensorType::F16, bytes_of<std::uint16_t>({0, 0x7bff, 0xfc00, 0x7e00})) == 2);
    CHECK(place(TensorType::BF16, bytes_of<std::uint16_t>({0x7f7f, 0xff7f})) == -1);
    CHECK(place(TensorType::BF16, bytes_of<std::uint16_t>({0x7f7f, 0x7f80})) == 1);
    CHECK(place(TensorType::F32, bytes_of<std::uint32_t>({0x7f7fffff, 0xff7fffff, 1})) == -1);
    CHECK(place(TensorType::F32, bytes_of<std::uint32_t>({0x7f7fffff, 0xff7fffff, 0xffc00000})) == 2);
    CHECK(place(TensorType::F32, {}) == -1);
}

TEST_CASE("random bytes in blocks of every type are either refused or unpack to finite weights") {
    std::mt19937_64 random(5);
    for (std::uint32_t number = 0; number < 64; ++number) {
        const auto* format = gguf::find_type(number);
        if (format == nullptr) continue;
        CAPTURE(format->name);
        int n_refused = 0;
        for (int round = 0; round < 2000; ++round) {
            std::vector<std::byte> block(format->block_bytes);
            for (auto& byte : block) byte = static_cast<std::byte>(random());
            // Damage that the scales' tests must see: exponents of all ones, in every place of the block.
            if (round % 2 == 0) block[random() % block.size()] |= std::byte{0x7f};
            std::vector<float> weights(format->block_weights);
            gguf::dequantize(format->type, block, weights);
            const bool refused = gguf::find_not_finite(format->type, block).has_value();
            const bool finite = std::all_of(weights.begin(), weights.end(), [](float w) { return std::isfinite(w); });
            n_refused += refused;
            if (!refused) REQUIRE(finite);
        }
        CHECK(n_refused > 0);
        CHECK(n_refused < 2000);
    }
}

TEST_CASE("the error names file, tensor, block of the whole tensor, type and value") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "m.gguf";
    auto blocks = three_blocks(TensorType::Q6_K);
    std::memcpy(blocks.data() + 210 + 208, &half_infinity, 2);
    {
        gguf::Writer writer(path);
        const std::uint64_t dims[] = {256, 3};
        const auto id = writer.add_tensor("blk.0.ffn_up.weight", TensorType::Q6_K, dims);
        writer.begin_data();
        writer.write(id, 0, blocks);
        writer.finish();
    }
    const auto file = gguf::File::open(path);
    const auto& tensor = file.require_tensor("blk.0.ffn_up.weight");
    CHECK_THROWS_WITH_AS(gguf::require_finite(file, tensor, 0, tensor.data),
                         Contains("m.gguf: tensor 'blk.0.ffn_up.weight': block 1 of type Q6_K: the scale d is inf"),
                         gguf::Error);
    CHECK_THROWS_WITH_AS(gguf::require_finite(file, tensor, 1000, tensor.data.subspan(210)), Contains("block 1000"),
                         gguf::Error);
    CHECK_NOTHROW(gguf::require_finite(file, tensor, 2, tensor.data.subspan(420)));
}
