// Split sets: one model in several files.
#include "host/gguf/split.h"

#include <doctest/doctest.h>
#include <filesystem>

#include "host/gguf/gguf.h"
#include "tests/gguf/raw_gguf.h"
#include "tests/gguf/temporary_folder.h"

using namespace vigil;
using namespace vigil::test;
using doctest::Contains;

namespace {

// `text` with the digit at `at` raised by `number`.
std::string numbered(std::string text, std::size_t at, int number) {
    text[at] = static_cast<char>(text[at] + number);
    return text;
}

// Part `number` (from 0) of three; each has one tensor of four floats.
RawFile part(std::uint16_t number) {
    RawFile file;
    file.keys = {
        raw_key("split.no", raw_u16, raw(number)),
        raw_key("split.count", raw_u16, raw(std::uint16_t{3})),
        raw_key("split.tensors.count", raw_i32, raw(std::int32_t{3})),
    };
    if (number == 0) file.keys.push_back(raw_key("general.architecture", raw_text, raw_string("llama")));
    file.tensors = {{raw_string(numbered("t0", 1, number)), {4}, 0, 0}};
    file.data_bytes = 16;
    return file;
}

std::string part_name(int number) {
    return numbered("m-00001-of-00003.gguf", 6, number);
}

struct SplitSet {
    TemporaryFolder folder;
    SplitSet() {
        for (std::uint16_t i = 0; i < 3; ++i) write(i, part(i));
    }
    void write(int number, const RawFile& file) { folder.write(part_name(number), file.bytes()); }
    gguf::File open(int number = 0) const { return gguf::File::open(folder.path() / part_name(number)); }
};

}  // namespace

TEST_CASE("a split set is read whole, whichever file is opened") {
    const SplitSet set;
    for (int opened = 0; opened < 3; ++opened) {
        CAPTURE(opened);
        const auto file = set.open(opened);
        REQUIRE(file.tensors().size() == 3);
        CHECK(file.tensors()[2].name == "t2");
        CHECK(file.require_tensor("t1").data.size() == 16);
        CHECK(file.tensor_bytes() == 48);
        CHECK(file.require_string("general.architecture") == "llama");
        CHECK(file.path().filename() == part_name(opened));
    }
}

TEST_CASE("a set with a missing file is refused") {
    SplitSet set;
    std::filesystem::remove(set.folder.path() / part_name(1));
    CHECK_THROWS_WITH_AS(set.open(), Contains("m-00002-of-00003.gguf: cannot open"), gguf::Error);
    CHECK_THROWS_WITH_AS(set.open(2), Contains("m-00002-of-00003.gguf: cannot open"), gguf::Error);
}

TEST_CASE("a file of the set that is broken is refused by its own name") {
    SplitSet set;
    auto broken = part(2);
    broken.tensors[0].type = 77;
    set.write(2, broken);
    CHECK_THROWS_WITH_AS(set.open(), Contains("m-00003-of-00003.gguf: tensor 't2'"), gguf::Error);
}

TEST_CASE("a file that says it is another part is refused") {
    SplitSet set;
    set.write(1, part(2));
    CHECK_THROWS_WITH_AS(set.open(), Contains("key 'split.no' is 2, but by its name the file should have 1"),
                         gguf::Error);
}

TEST_CASE("files that do not agree on their number are refused") {
    SplitSet set;
    auto other = part(1);
    other.keys[1].value = raw(std::uint16_t{4});
    set.write(1, other);
    CHECK_THROWS_WITH_AS(set.open(), Contains("m-00002-of-00003.gguf: key 'split.count' is 4, but by its name"),
                         gguf::Error);
    other.keys.erase(other.keys.begin() + 1);
    set.write(1, other);
    CHECK_THROWS_WITH_AS(set.open(), Contains("key 'split.count' is 1, but by its name the set has 3"), gguf::Error);
}

TEST_CASE("a part without its number is refused") {
    SplitSet set;
    auto nameless = part(1);
    nameless.keys.erase(nameless.keys.begin());
    set.write(1, nameless);
    CHECK_THROWS_WITH_AS(set.open(), Contains("key 'split.no' is missing"), gguf::Error);
}

TEST_CASE("a tensor in two files of the set is refused") {
    SplitSet set;
    auto doubled = part(2);
    doubled.tensors[0].name = raw_string("t0");
    set.write(2, doubled);
    CHECK_THROWS_WITH_AS(set.open(), Contains("m-00003-of-00003.gguf: tensor 't0': occurs in an earlier file"),
                         gguf::Error);
}

TEST_CASE("a set with another number of tensors than it says is refused") {
    SplitSet set;
    auto first = part(0);
    first.keys[2].value = raw(std::int32_t{4});
    set.write(0, first);
    CHECK_THROWS_WITH_AS(set.open(), Contains("'split.tensors.count' is 4, but the files of the set hold 3"),
                         gguf::Error);
}

TEST_CASE("part of a set under another name is refused") {
    const TemporaryFolder folder;
    const auto path = folder.write("renamed.gguf", part(0).bytes());
    CHECK_THROWS_WITH_AS(gguf::File::open(path), Contains("one of 3 files of a split set, but its name"), gguf::Error);
}

TEST_CASE("a merged file, whose split.count is 0, stands alone") {
    const TemporaryFolder folder;
    auto merged = part(0);
    merged.keys[1].value = raw(std::uint16_t{0});
    CHECK(gguf::File::open(folder.write("merged.gguf", merged.bytes())).tensors().size() == 1);
}

TEST_CASE("names of split files are taken apart and put together") {
    const auto name = gguf::parse_split_name("/models/m-00002-of-00013.gguf");
    REQUIRE(name.has_value());
    CHECK(name->prefix == "/models/m");
    CHECK(name->number == 2);
    CHECK(name->count == 13);
    CHECK(gguf::split_path(name->prefix, 12, 13) == "/models/m-00012-of-00013.gguf");
    CHECK_FALSE(gguf::parse_split_name("m-0002-of-00013.gguf").has_value());
    CHECK_FALSE(gguf::parse_split_name("m-00002-of-00013.bin").has_value());
    CHECK_FALSE(gguf::parse_split_name("m-0000x-of-00013.gguf").has_value());
    CHECK_FALSE(gguf::parse_split_name("m.gguf").has_value());
}
