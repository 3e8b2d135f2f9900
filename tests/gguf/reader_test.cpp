// Reading correct files: values, tensors and the typed look-ups.
#include <doctest/doctest.h>

#include "host/gguf/gguf.h"
#include "tests/gguf/raw_gguf.h"
#include "tests/gguf/temporary_folder.h"

using namespace vigil;
using namespace vigil::test;
using doctest::Contains;

namespace {

gguf::File open_valid_file(const TemporaryFolder& folder) {
    return gguf::File::open(folder.write("valid.gguf", valid_file().bytes()));
}

}  // namespace

TEST_CASE("every kind of value reads as it was written") {
    const TemporaryFolder folder;
    const auto file = open_valid_file(folder);
    CHECK(file.version() == 3);
    CHECK(file.metadata().size() == valid_file().keys.size());
    CHECK(file.metadata()[0].key == "general.architecture");
    CHECK(file.require_string("general.architecture") == "llama");
    CHECK(file.require_u32("test.u8") == 200);
    CHECK(file.require_u32("test.u16") == 60000);
    CHECK(file.require_u32("test.u32") == 4000000000);
    CHECK(std::get<std::uint64_t>(file.find("test.u64")->value) == std::uint64_t{1} << 63);
    CHECK(std::get<std::int64_t>(file.find("test.i8")->value) == -100);
    CHECK(std::get<std::int64_t>(file.find("test.i16")->value) == -30000);
    CHECK(std::get<std::int64_t>(file.find("test.i32")->value) == -2000000000);
    CHECK(std::get<std::int64_t>(file.find("test.i64")->value) == -5);
    CHECK(file.require_f32("test.f32") == 1.5f);
    CHECK(std::get<double>(file.find("test.f64")->value) == 1e300);
    CHECK(file.get_bool("test.bool", false));

    const auto& strings = file.require_array("test.strings");
    REQUIRE(strings.size() == 2);
    CHECK(strings.string(0) == "one");
    CHECK(strings.string(1).empty());
    CHECK(file.require_array("test.numbers").integer(0) == -7);
    CHECK(file.require_array("test.numbers").integer(1) == 8);
    CHECK(file.require_array("test.floats").floating(0) == 0.25);
    CHECK(file.require_array("test.empty").size() == 0);
    CHECK(file.require_array("test.bools").integer(0) == 0);
    CHECK(file.require_array("test.bools").integer(2) == 1);
    CHECK(file.require_array("test.i8s").integer(1) == -128);
    CHECK(file.require_array("test.u16s").integer(0) == 65535);
    CHECK(file.require_array("test.i16s").integer(0) == -32768);
    CHECK(file.require_array("test.doubles").floating(0) == -1e300);
}

TEST_CASE("tensors have their shape, type and bytes") {
    const TemporaryFolder folder;
    const auto file = open_valid_file(folder);
    REQUIRE(file.tensors().size() == 2);
    const auto& a = file.require_tensor("a.weight");
    CHECK(a.type == gguf::TensorType::Q8_0);
    CHECK(a.cols() == 64);
    CHECK(a.rows() == 2);
    REQUIRE(a.data.size() == 136);
    CHECK(a.data[0] == std::byte{1});
    const auto& b = file.require_tensor("b.weight");
    CHECK(b.rows() == 1);
    REQUIRE(b.data.size() == 32);
    CHECK(b.data[0] == std::byte{161});
    CHECK(file.tensor_bytes() == 168);
    CHECK(file.find_tensor("c.weight") == nullptr);
}

TEST_CASE("a file stays readable after the File has moved") {
    const TemporaryFolder folder;
    auto first = open_valid_file(folder);
    auto second = std::move(first);
    CHECK(second.require_string("general.architecture") == "llama");
    second = gguf::File::open(folder.write("other.gguf", valid_file().bytes()));
    CHECK(second.require_tensor("b.weight").data[31] == std::byte{192});
}

TEST_CASE("version 2 reads like version 3") {
    const TemporaryFolder folder;
    auto raw_file = valid_file();
    raw_file.version = 2;
    const auto file = gguf::File::open(folder.write("v2.gguf", raw_file.bytes()));
    CHECK(file.version() == 2);
    CHECK(file.tensors().size() == 2);
}

TEST_CASE("a file without tensors or without keys reads") {
    const TemporaryFolder folder;
    auto no_tensors = valid_file();
    no_tensors.tensors.clear();
    CHECK(gguf::File::open(folder.write("a.gguf", no_tensors.header())).tensors().empty());
    CHECK(gguf::File::open(folder.write("b.gguf", RawFile{}.header())).metadata().empty());
}

TEST_CASE("another alignment moves the data") {
    const TemporaryFolder folder;
    auto raw_file = valid_file();
    raw_file.keys[1].value = raw(std::uint32_t{256});
    raw_file.alignment = 256;
    raw_file.tensors[1].offset = 256;
    raw_file.data_bytes = 288;
    const auto file = gguf::File::open(folder.write("aligned.gguf", raw_file.bytes()));
    CHECK(file.require_tensor("a.weight").data[0] == std::byte{1});
    CHECK(reinterpret_cast<std::uintptr_t>(file.require_tensor("a.weight").data.data()) % 256 == 0);
}

TEST_CASE("tensors may stand in the file in another order than in the directory") {
    const TemporaryFolder folder;
    auto raw_file = valid_file();
    raw_file.tensors[0].offset = 32;
    raw_file.tensors[1].offset = 0;
    const auto file = gguf::File::open(folder.write("order.gguf", raw_file.bytes()));
    CHECK(file.tensors()[0].name == "a.weight");
    CHECK(file.tensors()[0].data[0] == std::byte{33});
}

TEST_CASE("look-ups give the default for a missing key, or an error that names it") {
    const TemporaryFolder folder;
    const auto file = open_valid_file(folder);
    CHECK(file.get_u32("no.such", 7) == 7);
    CHECK(file.get_f32("no.such", 0.5f) == 0.5f);
    CHECK(file.get_bool("no.such", true));
    CHECK(file.get_string("no.such", "x") == "x");
    CHECK(file.find_array("no.such") == nullptr);
    CHECK(file.find("no.such") == nullptr);
    CHECK_THROWS_WITH_AS(file.require_u32("no.such"), Contains("valid.gguf: key 'no.such' is missing"), gguf::Error);
    CHECK_THROWS_WITH_AS(file.require_f32("no.such"), Contains("'no.such' is missing"), gguf::Error);
    CHECK_THROWS_WITH_AS(file.require_string("no.such"), Contains("'no.such' is missing"), gguf::Error);
    CHECK_THROWS_WITH_AS(file.require_array("no.such"), Contains("'no.such' is missing"), gguf::Error);
    CHECK_THROWS_WITH_AS(file.require_tensor("x.weight"), Contains("valid.gguf: tensor 'x.weight' is missing"),
                         gguf::Error);
}

TEST_CASE("a value of another type or out of range is an error that shows it") {
    const TemporaryFolder folder;
    const auto file = open_valid_file(folder);
    const auto fails = [](auto look_up, const char* message) {
        CHECK_THROWS_WITH_AS(look_up(), Contains(message), gguf::Error);
    };
    fails([&] { file.require_u32("test.f32"); }, "key 'test.f32': the value is the float32 1.5, not an integer");
    fails([&] { file.require_u32("test.u64"); }, "the uint64 9223372036854775808, not an integer from 0 to 4294967295");
    fails([&] { file.get_u32("test.i64", 1); }, "key 'test.i64': the value is the int64 -5");
    fails([&] { file.get_u32("test.bool", 1); }, "the bool true");
    fails([&] { file.require_u32("test.numbers"); }, "an array of 2 int32");
    fails([&] { file.require_f32("test.u8"); }, "the uint8 200, not a float");
    fails([&] { file.get_f32("test.f64", 0); }, "1e+300, too large for a float32");
    fails([&] { file.get_bool("test.u8", false); }, "the uint8 200, not a bool");
    fails([&] { file.require_string("test.u8"); }, "the uint8 200, not a string");
    fails([&] { file.get_string("test.strings", ""); }, "an array of 2 string, not a string");
    fails([&] { file.require_array("general.architecture"); }, "the string 'llama', not an array");
    fails([&] { file.find_array("test.u8"); }, "not an array");
}

TEST_CASE("array elements are read only as what they are and where they are") {
    const TemporaryFolder folder;
    const auto file = open_valid_file(folder);
    const auto fails = [](auto read, const char* message) {
        CHECK_THROWS_WITH_AS(read(), Contains(message), gguf::Error);
    };
    fails([&] { file.require_array("test.numbers").integer(2); },
          "valid.gguf: key 'test.numbers': element 2 of an array of 2");
    fails([&] { file.require_array("test.strings").string(~std::size_t{0}); }, "element 18446744073709551615");
    fails([&] { file.require_array("test.empty").integer(0); }, "element 0 of an array of 0");
    fails([&] { file.require_array("test.strings").integer(0); }, "an array of string, but integer elements");
    fails([&] { file.require_array("test.numbers").string(0); }, "an array of int32, but string elements");
    fails([&] { file.require_array("test.numbers").floating(0); }, "an array of int32, but float elements");
    fails([&] { file.require_array("test.floats").integer(0); }, "an array of float32, but integer elements");
    fails([&] { file.require_array("test.wide").integer(0); }, "18446744073709551615, more than 2^63 - 1");
}
