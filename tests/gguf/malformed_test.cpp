// Wrong and hostile files: a correct file with one thing broken, and the message that must come out.
#include <doctest/doctest.h>
#include <functional>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "host/gguf/gguf.h"
#include "tests/gguf/raw_gguf.h"
#include "tests/gguf/temporary_folder.h"

using namespace vigil;
using namespace vigil::test;

namespace {

constexpr std::uint64_t huge = std::uint64_t{1} << 63;
constexpr std::uint64_t most = ~std::uint64_t{0};

struct Malformed {
    std::string name;
    std::function<void(RawFile&)> mutate;  // before the file becomes bytes
    std::vector<std::string> expected;     // all of it stands in the message
    std::size_t cut = 0;                   // bytes taken from the end
};

RawKeyValue& key(RawFile& file, std::string_view name) {
    for (auto& entry : file.keys) {
        if (entry.key == raw_string(name)) return entry;
    }
    throw std::logic_error("the valid file has no such key");
}

void set_array(RawFile& file, const std::string& value) {
    key(file, "test.numbers").value = value;
}

void nothing(RawFile&) {}

const std::vector<Malformed> header_cases{
    {"another magic", [](RawFile& f) { f.magic = "GGML"; }, {"magic is 'GGML', not 'GGUF'", "at byte 0"}},
    {"a magic of control characters", [](RawFile& f) { f.magic = "\n\x1b[m"; }, {"'\\x0a\\x1b[m'"}},
    {"version 0", [](RawFile& f) { f.version = 0; }, {"version 0 is not supported", "at byte 4"}},
    {"version 1", [](RawFile& f) { f.version = 1; }, {"version 1 is not supported"}},
    {"version 4", [](RawFile& f) { f.version = 4; }, {"version 4 is not supported"}},
    {"big-endian version", [](RawFile& f) { f.version = 3u << 24; }, {"big-endian", "0x03000000"}},
    {"tensor count 2^63", [](RawFile& f) { f.tensor_count = huge; }, {"tensor count 9223372036854775808", "at byte 8"}},
    {"tensor count 2^64 - 1", [](RawFile& f) { f.tensor_count = most; }, {"tensor count 18446744073709551615"}},
    {"metadata count 2^63", [](RawFile& f) { f.key_count = huge; }, {"metadata count 9223372036854775808", "byte 16"}},
    {"one tensor too many", [](RawFile& f) { f.tensor_count = 3; }, {"tensor entry 2"}},
    {"one key too many",
     [](RawFile& f) { f.key_count = f.keys.size() + 1; },
     {"tensor entry 0", "of the name is more than"}},
    {"one key too few", [](RawFile& f) { f.key_count = f.keys.size() - 1; }, {"tensor 'test.wide'", "9 dimensions"}},
};

const std::vector<Malformed> key_cases{
    {"key length 2^63",
     [](RawFile& f) { f.keys[0].key = raw(huge); },
     {"metadata entry 0", "length 9223372036854775808"}},
    {"key length 2^64 - 1",
     [](RawFile& f) { f.keys[2].key = raw(most); },
     {"metadata entry 2", "18446744073709551615"}},
    {"an empty key", [](RawFile& f) { f.keys[0].key = raw_string(""); }, {"metadata entry 0", "key is empty"}},
    {"a key of 65,536 bytes",
     [](RawFile& f) { f.keys[0].key = raw_string(std::string(65536, 'k')); },
     {"the key has 65536 bytes, more than 65535"}},
    {"a key twice", [](RawFile& f) { f.keys[3].key = f.keys[2].key; }, {"key 'test.u8'", "occurs twice"}},
    {"value type 13", [](RawFile& f) { f.keys[2].type = 13; }, {"key 'test.u8'", "value type 13 is unknown"}},
    {"value type 2^32 - 1", [](RawFile& f) { f.keys[2].type = ~0u; }, {"value type 4294967295 is unknown"}},
    {"string length 2^63",
     [](RawFile& f) { f.keys[0].value = raw(huge); },
     {"key 'general.architecture'", "length 9223372036854775808 of the value"}},
    {"a string longer than the file",
     [](RawFile& f) {
         f.keys = {f.keys[0]};
         f.tensors.clear();
         f.data_bytes = 0;
         f.keys[0].value = raw(std::uint64_t{200}) + "llama";
     },
     {"key 'general.architecture'", "length 200 of the value"}},
    {"bool 2", [](RawFile& f) { key(f, "test.bool").value = raw(std::uint8_t{2}); }, {"'test.bool'", "bool is 2"}},
    {"bool 255 in an array",
     [](RawFile& f) { key(f, "test.bools").value.back() = '\xff'; },
     {"'test.bools'", "bool is 255"}},
    {"array element type 13",
     [](RawFile& f) { set_array(f, raw(13u) + raw(std::uint64_t{0})); },
     {"key 'test.numbers'", "array element type 13 is unknown"}},
    {"an array of arrays",
     [](RawFile& f) { set_array(f, raw_array_head(raw_array, 1) + raw_array_head(raw_u8, 0)); },
     {"key 'test.numbers'", "arrays of arrays"}},
    {"array length 2^63",
     [](RawFile& f) { set_array(f, raw_array_head(raw_u8, huge)); },
     {"length 9223372036854775808"}},
    {"array length times width wraps to 8",
     [](RawFile& f) { set_array(f, raw_array_head(raw_u64, (std::uint64_t{1} << 61) + 1) + raw(std::uint64_t{0})); },
     {"key 'test.numbers'", "array length 2305843009213693953", "uint64 needs 8 bytes"}},
    {"2^60 strings",
     [](RawFile& f) { set_array(f, raw_array_head(raw_text, std::uint64_t{1} << 60)); },
     {"key 'test.numbers'", "array length 1152921504606846976", "string needs 8 bytes or more"}},
    {"a string in an array longer than the file",
     [](RawFile& f) { set_array(f, raw_array_head(raw_text, 1) + raw(most)); },
     {"key 'test.numbers'", "length 18446744073709551615 of the array element"}},
};

void set_alignment(RawFile& file, std::uint32_t alignment) {
    file.keys[1].value = raw(alignment);
}

const std::vector<Malformed> alignment_cases{
    {"alignment 0", [](RawFile& f) { set_alignment(f, 0); }, {"key 'general.alignment'", "alignment 0 is no power"}},
    {"alignment 48", [](RawFile& f) { set_alignment(f, 48); }, {"alignment 48 is no power of two"}},
    {"alignment 4", [](RawFile& f) { set_alignment(f, 4); }, {"alignment 4 is no power of two from 8 up"}},
    {"alignment 2^31", [](RawFile& f) { set_alignment(f, 1u << 31); }, {"data offset 160", "alignment 2147483648"}},
    {"alignment 2^31 and offset 0",
     [](RawFile& f) {
         set_alignment(f, 1u << 31);
         f.tensors.pop_back();
     },
     {"tensor 'a.weight'", "reaches past the end", "has 0 bytes of data"}},
    {"an alignment of 64 bits",
     [](RawFile& f) {
         f.keys[1].type = raw_u64;
         f.keys[1].value = raw(std::uint64_t{1} << 40);
     },
     {"key 'general.alignment'", "the uint64 1099511627776"}},
    {"an alignment below zero",
     [](RawFile& f) {
         f.keys[1].type = raw_i32;
         f.keys[1].value = raw(-32);
     },
     {"key 'general.alignment'", "the int32 -32"}},
    {"an alignment in words",
     [](RawFile& f) {
         f.keys[1].type = raw_text;
         f.keys[1].value = raw_string("32");
     },
     {"key 'general.alignment'", "the string '32', not an integer"}},
};

const std::vector<Malformed> tensor_cases{
    {"an empty name", [](RawFile& f) { f.tensors[0].name = raw_string(""); }, {"tensor entry 0", "name is empty"}},
    {"a name of 65 bytes",
     [](RawFile& f) { f.tensors[0].name = raw_string(std::string(65, 'n')); },
     {"tensor entry 0", "has 65 bytes, more than 64"}},
    {"name length 2^63", [](RawFile& f) { f.tensors[0].name = raw(huge); }, {"tensor entry 0", "9223372036854775808"}},
    {"a name of control characters",
     [](RawFile& f) {
         f.tensors[0].name = raw_string("\x1b[31m\xff");
         f.tensors[0].type = 99;
     },
     {"tensor '\\x1b[31m\\xff'"}},
    {"a tensor twice",
     [](RawFile& f) { f.tensors[1].name = f.tensors[0].name; },
     {"tensor 'a.weight'", "occurs twice"}},
    {"no dimensions", [](RawFile& f) { f.tensors[1].dims.clear(); }, {"tensor 'b.weight'", "0 dimensions"}},
    {"5 dimensions",
     [](RawFile& f) {
         f.tensors[1].dims = {8, 1, 1, 1, 1};
     },
     {"tensor 'b.weight'", "5 dimensions"}},
    {"2^32 - 1 dimensions", [](RawFile& f) { f.tensors[0].n_dims = ~0u; }, {"'a.weight'", "4294967295 dimensions"}},
    {"columns 0",
     [](RawFile& f) {
         f.tensors[0].dims = {0, 2};
     },
     {"tensor 'a.weight'", "dimension 0 is 0"}},
    {"rows 0",
     [](RawFile& f) {
         f.tensors[0].dims = {64, 0};
     },
     {"tensor 'a.weight'", "dimension 1 is 0"}},
    {"a dimension of 2^63",
     [](RawFile& f) { f.tensors[0].dims = {huge}; },
     {"dimension 0 is 9223372036854775808", "overflows"}},
    {"dimensions whose product is 2^64",
     [](RawFile& f) {
         f.tensors[0].dims = {std::uint64_t{1} << 32, std::uint64_t{1} << 32};
     },
     {"tensor 'a.weight'", "dimension 1 is 4294967296", "number of elements overflows"}},
    {"dimensions whose product wraps to 64",
     [](RawFile& f) {
         f.tensors[0].dims = {64, (std::uint64_t{1} << 58) + 1};
     },
     {"tensor 'a.weight'", "number of elements overflows"}},
    {"2^62 floats, whose bytes are 2^64",
     [](RawFile& f) { f.tensors[1].dims = {std::uint64_t{1} << 62}; },
     {"tensor 'b.weight'", "size of the data overflows"}},
    {"more data than the file has",
     [](RawFile& f) { f.tensors[1].dims = {std::uint64_t{1} << 50}; },
     {"tensor 'b.weight'", "reaches past the end", "4503599627370496 bytes"}},
    {"type 77", [](RawFile& f) { f.tensors[0].type = 77; }, {"tensor 'a.weight'", "type unknown (77)", "Q4_K"}},
    {"a type that was removed", [](RawFile& f) { f.tensors[0].type = 4; }, {"type Q4_2 (4) is not known"}},
    {"a type that is not read", [](RawFile& f) { f.tensors[0].type = 16; }, {"type IQ2_XXS (16) is not known"}},
    {"type 2^32 - 1", [](RawFile& f) { f.tensors[0].type = ~0u; }, {"unknown (4294967295)"}},
    {"columns that cut a block",
     [](RawFile& f) {
         f.tensors[0].dims = {33, 2};
     },
     {"tensor 'a.weight'", "33 columns are no multiple of the 32 weights in a block of Q8_0"}},
    {"an offset off the alignment",
     [](RawFile& f) { f.tensors[1].offset = 161; },
     {"tensor 'b.weight'", "data offset 161 is no multiple of the alignment 32"}},
    {"an offset past the end",
     [](RawFile& f) { f.tensors[1].offset = 192; },
     {"tensor 'b.weight'", "offset 192, 32 bytes", "has 192 bytes of data"}},
    {"an offset that wraps around",
     [](RawFile& f) { f.tensors[1].offset = most - 31; },
     {"tensor 'b.weight'", "offset 18446744073709551584", "reaches past the end"}},
    {"two tensors in one place", [](RawFile& f) { f.tensors[1].offset = 0; }, {"overlaps that of tensor", "(offset 0"}},
    {"a tensor that begins inside another",
     [](RawFile& f) { f.tensors[1].offset = 128; },
     {"tensor 'b.weight'", "offset 128", "overlaps that of tensor 'a.weight' (offset 0, 136 bytes)"}},
};

const std::vector<Malformed> truncation_cases{
    {"the last byte of data is missing", nothing, {"tensor 'b.weight'", "reaches past the end", "191 bytes"}, 1},
    {"all data is missing", nothing, {"tensor 'a.weight'", "reaches past the end", "has 0 bytes"}, 192},
    {"the file ends in the padding", nothing, {"tensor 'a.weight'", "has 0 bytes"}, 193},
};

void check_refusal(const std::filesystem::path& path, const std::vector<std::string>& expected) {
    try {
        gguf::File::open(path);
        FAIL_CHECK("the file was read");
    } catch (const gguf::Error& error) {
        const std::string message = error.what();
        CHECK_MESSAGE(message.starts_with(path.string() + ": "), message);
        for (const auto& part : expected) {
            const bool contained = message.find(part) != std::string::npos;
            CHECK_MESSAGE(contained, "'" << part << "' is not in: " << message);
        }
    }
}

void check_table(const std::vector<Malformed>& cases) {
    const TemporaryFolder folder;
    for (const auto& malformed : cases) {
        CAPTURE(malformed.name);
        auto file = valid_file();
        malformed.mutate(file);
        auto bytes = file.bytes();
        bytes.resize(bytes.size() - malformed.cut);
        check_refusal(folder.write("broken.gguf", bytes), malformed.expected);
    }
}

}  // namespace

TEST_CASE("a broken header is refused") {
    check_table(header_cases);
}
TEST_CASE("broken metadata is refused") {
    check_table(key_cases);
}
TEST_CASE("a wrong alignment is refused") {
    check_table(alignment_cases);
}
TEST_CASE("a broken tensor entry is refused") {
    check_table(tensor_cases);
}
TEST_CASE("a file that is too short for its tensors is refused") {
    check_table(truncation_cases);
}

TEST_CASE("in every type, columns that cut a block and data that ends early are refused") {
    const TemporaryFolder folder;
    for (std::uint32_t number = 0; number < 64; ++number) {
        const auto* format = gguf::find_type(number);
        if (format == nullptr) continue;
        CAPTURE(format->name);
        RawFile file;
        const std::uint64_t cols = 2 * format->block_weights;
        file.tensors = {{raw_string("a.weight"), {cols, 3}, number, 0}};
        file.data_bytes = 6 * format->block_bytes;
        CHECK_NOTHROW(gguf::File::open(folder.write("whole.gguf", file.bytes())));

        auto bytes = file.bytes();
        bytes.pop_back();
        check_refusal(folder.write("short.gguf", bytes), {"tensor 'a.weight'", "reaches past the end"});
        if (format->block_weights == 1) continue;
        for (const std::uint64_t wrong : {cols - 1, cols + 1, std::uint64_t{format->block_weights} / 2}) {
            file.tensors[0].dims = {wrong, 1};
            check_refusal(folder.write("cut.gguf", file.bytes()),
                          {"tensor 'a.weight'", std::to_string(wrong) + " columns are no multiple of the " +
                                                    std::to_string(format->block_weights) + " weights in a block of " +
                                                    std::string(format->name)});
        }
    }
}

TEST_CASE("a file cut inside a field names the field") {
    const TemporaryFolder folder;
    const auto bytes = valid_file().bytes();
    const std::pair<std::size_t, std::vector<std::string>> cuts[] = {
        {1, {"ends inside the magic: 4 bytes needed, 1 left", "at byte 0"}},
        {4, {"ends inside the version", "at byte 4"}},
        {11, {"ends inside the tensor count", "at byte 8"}},
        {20, {"tensor count 2 cannot be true: the file has only 4 more bytes"}},
    };
    for (const auto& cut : cuts) {
        CAPTURE(cut.first);
        check_refusal(folder.write("cut.gguf", bytes.substr(0, cut.first)), cut.second);
    }
}

TEST_CASE("what is no regular file is refused") {
    const TemporaryFolder folder;
    check_refusal(folder.path() / "missing.gguf", {"cannot open", "No such file or directory"});
    check_refusal(folder.path(), {"is a directory"});
    check_refusal(folder.write("empty.gguf", ""), {"is empty (0 bytes)"});
    const auto pipe = folder.path() / "pipe.gguf";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    check_refusal(pipe, {"is no regular file"});
    check_refusal("/dev/null", {"is no regular file"});
}

TEST_CASE("a file without read permission is refused") {
    if (::geteuid() == 0) {
        MESSAGE("skipped: root may read every file");
        return;
    }
    const TemporaryFolder folder;
    const auto path = folder.write("secret.gguf", valid_file().bytes());
    REQUIRE(::chmod(path.c_str(), 0) == 0);
    check_refusal(path, {"cannot open", "Permission denied"});
}
