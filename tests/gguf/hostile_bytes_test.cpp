// Truncations and random damage: the parser must refuse or accept, and nothing else may happen. The bytes lie in a heap
// block of their exact size, so that AddressSanitizer sees a read past the end, which a mapping's last page would hide.
#include <algorithm>
#include <doctest/doctest.h>
#include <memory>
#include <random>
#include <string>

#include "host/gguf/header.h"
#include "tests/gguf/raw_gguf.h"

using namespace vigil;
using namespace vigil::test;

namespace {

// Touches everything that the header hands out.
std::uint64_t read_everything(const gguf::Header& header) {
    std::uint64_t sum = 0;
    for (const auto& entry : header.metadata) {
        sum += gguf::describe(entry).size();
        const auto* array = std::get_if<gguf::Array>(&entry.value);
        for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
            try {
                switch (array->element_type()) {
                    case gguf::ValueType::string:
                        sum += array->string(i).size();
                        break;
                    case gguf::ValueType::float32:
                    case gguf::ValueType::float64:
                        sum += array->floating(i) > 0;
                        break;
                    default:
                        sum += static_cast<std::uint64_t>(array->integer(i));
                }
            } catch (const gguf::Error&) {
                ++sum;  // a 64-bit number above 2^63
            }
        }
    }
    for (const auto& tensor : header.tensors) {
        for (const auto byte : tensor.data) sum += std::to_integer<std::uint64_t>(byte);
    }
    return sum;
}

// Whether the bytes are accepted. Any exception but gguf::Error ends the test.
bool parses(std::string_view bytes) {
    const auto copy = std::make_unique<std::byte[]>(bytes.size());
    std::copy_n(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size(), copy.get());
    try {
        const auto header = gguf::parse_header("hostile.gguf", {copy.get(), bytes.size()});
        return read_everything(header) > 0;
    } catch (const gguf::Error& error) {
        CHECK(std::string_view(error.what()).starts_with("hostile.gguf: "));
        return false;
    }
}

}  // namespace

TEST_CASE("every truncation of a file is refused") {
    const auto bytes = valid_file().bytes();
    REQUIRE(parses(bytes));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CAPTURE(size);
        REQUIRE_FALSE(parses(std::string_view(bytes).substr(0, size)));
    }
}

TEST_CASE("20,000 files with random damage do no harm") {
    const auto valid = valid_file().bytes();
    const auto header_size = valid_file().header().size();
    std::mt19937_64 random(20260);
    int refused = 0;
    for (int round = 0; round < 20000; ++round) {
        auto bytes = valid;
        const auto flips = 1 + random() % 4;
        for (std::uint64_t i = 0; i < flips; ++i) {
            const auto at = random() % header_size;
            // Bits of numbers are worth more than random bytes: most random bytes only make numbers huge.
            bytes[at] =
                random() % 2 == 0 ? static_cast<char>(random()) : static_cast<char>(bytes[at] ^ (1 << random() % 8));
        }
        if (!parses(bytes)) ++refused;
    }
    // Damage to names and values can pass; damage to counts, types and lengths cannot.
    CHECK(refused > 5000);
    CHECK(refused < 20000);
}

TEST_CASE("20,000 headers of random numbers after a correct start do no harm") {
    std::mt19937_64 random(7);
    for (int round = 0; round < 20000; ++round) {
        std::string bytes = "GGUF" + raw(3u) + raw(random() % 4) + raw(random() % 4);
        const auto words = random() % 64;
        for (std::uint64_t i = 0; i < words; ++i) {
            // Small numbers are plausible lengths, types and counts.
            bytes += random() % 4 == 0 ? raw(random()) : raw(random() % 16);
        }
        parses(bytes);
    }
}
