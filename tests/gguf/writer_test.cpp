// What the writer writes, the reader reads; what goes wrong leaves no file behind.
#include "host/gguf/writer.h"

#include <array>
#include <csignal>
#include <cstring>
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <thread>
#include <vector>

#include "tests/gguf/raw_gguf.h"
#include "tests/gguf/temporary_folder.h"

using namespace vigil;
using namespace vigil::test;
using doctest::Contains;
using gguf::TensorType;

namespace {

using Dims = std::vector<std::uint64_t>;

std::vector<std::byte> counted_bytes(std::size_t size, int first = 0) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(first + static_cast<int>(i));
    return bytes;
}

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

TEST_CASE("values and tensors come back as they were written") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "m.gguf";
    const auto q8 = counted_bytes(136);
    const auto f16 = counted_bytes(10, 7);
    {
        gguf::Writer writer(path);
        writer.set_string("general.architecture", "qwen3");
        writer.set_u16("a.u16", 3);
        writer.set_u32("a.u32", 4000000000);
        writer.set_i32("a.i32", 12);
        writer.set_u64("a.u64", 5);
        writer.set_f32("a.f32", 1e-6f);
        writer.set_bool("a.bool", true);
        writer.set_strings("a.strings", std::vector<std::string>{"x", "", "Ġt"});
        writer.set_i32s("a.i32s", std::vector<std::int32_t>{-1, 2});
        writer.set_f32s("a.f32s", std::vector<float>{0.5f});
        const auto first = writer.add_tensor("q8", TensorType::Q8_0, Dims{64, 2});
        const auto second = writer.add_tensor("f16", TensorType::F16, Dims{5});
        writer.begin_data();
        writer.write(second, 0, f16);
        writer.write(first, 100, std::span(q8).subspan(100));
        writer.write(first, 0, std::span(q8).first(100));
        writer.finish();
    }
    CHECK(folder.file_count() == 1);
    const auto file = gguf::File::open(path);
    CHECK(file.version() == 3);
    CHECK(file.metadata().size() == 10);
    CHECK(file.require_string("general.architecture") == "qwen3");
    CHECK(file.require_u32("a.u16") == 3);
    CHECK(file.require_u32("a.u32") == 4000000000);
    CHECK(file.require_u32("a.i32") == 12);
    CHECK(file.require_u32("a.u64") == 5);
    CHECK(file.require_f32("a.f32") == 1e-6f);
    CHECK(file.get_bool("a.bool", false));
    CHECK(file.require_array("a.strings").string(2) == "Ġt");
    CHECK(file.require_array("a.i32s").integer(0) == -1);
    CHECK(file.require_array("a.f32s").floating(0) == 0.5);
    CHECK(equal(file.require_tensor("q8").data, q8));
    CHECK(equal(file.require_tensor("f16").data, f16));
    CHECK(file.require_tensor("q8").rows() == 2);
}

TEST_CASE("every kind of value can be copied from another file") {
    const TemporaryFolder folder;
    const auto source = gguf::File::open(folder.write("source.gguf", valid_file().bytes()));
    const auto path = folder.path() / "copy.gguf";
    gguf::Writer writer(path);
    for (const auto& entry : source.metadata()) writer.copy(entry);
    for (const auto& tensor : source.tensors()) writer.add_tensor(tensor.name, tensor.type, tensor.dims);
    writer.begin_data();
    for (std::size_t i = 0; i < source.tensors().size(); ++i) writer.write(i, 0, source.tensors()[i].data);
    writer.finish();

    // The source's explicit alignment of 32 is the default and not repeated; all else is the same, byte for byte.
    auto expected = valid_file();
    expected.keys.erase(expected.keys.begin() + 1);
    auto written = read_file(path);
    REQUIRE(written.substr(0, expected.header().size()) == expected.header());
    const auto copy = gguf::File::open(path);
    for (const auto& tensor : source.tensors()) CHECK(equal(copy.require_tensor(tensor.name).data, tensor.data));
}

TEST_CASE("another alignment is written down and kept") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "m.gguf";
    gguf::Writer writer(path, 4096);
    writer.add_tensor("a", TensorType::F32, Dims{1});
    writer.add_tensor("b", TensorType::F32, Dims{1});
    writer.begin_data();
    const auto bytes = counted_bytes(4);
    writer.write(0, 0, bytes);
    writer.write(1, 0, bytes);
    writer.finish();
    const auto file = gguf::File::open(path);
    CHECK(file.require_u32("general.alignment") == 4096);
    CHECK(file.tensors()[1].data.data() - file.tensors()[0].data.data() == 4096);
    CHECK(reinterpret_cast<std::uintptr_t>(file.tensors()[0].data.data()) % 4096 == 0);
}

TEST_CASE("threads can write parts of tensors at the same time") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "m.gguf";
    constexpr std::size_t rows = 64;
    gguf::Writer writer(path);
    writer.add_tensor("t", TensorType::F32, Dims{256, rows});
    writer.begin_data();
    {
        std::vector<std::jthread> threads;
        for (std::size_t t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                for (std::size_t row = t; row < rows; row += 4) {
                    writer.write(0, row * 1024, counted_bytes(1024, static_cast<int>(row)));
                }
            });
        }
    }
    writer.finish();
    const auto file = gguf::File::open(path);
    for (std::size_t row = 0; row < rows; ++row) {
        CAPTURE(row);
        CHECK(equal(file.tensors()[0].data.subspan(row * 1024, 1024), counted_bytes(1024, static_cast<int>(row))));
    }
}

TEST_CASE("a file is there whole or not at all") {
    const TemporaryFolder folder;
    const auto path = folder.write("m.gguf", "what was there before");
    {
        gguf::Writer writer(path);
        writer.add_tensor("t", TensorType::F32, Dims{2});
        writer.begin_data();
        writer.write(0, 0, counted_bytes(4));
        CHECK(folder.file_count() == 2);
        CHECK_THROWS_WITH_AS(writer.finish(), Contains("4 bytes of tensor data were written, 8 are expected"),
                             gguf::Error);
    }
    CHECK(folder.file_count() == 1);
    CHECK(read_file(path) == "what was there before");
}

TEST_CASE("a header that no reader would take cannot be written") {
    const TemporaryFolder folder;
    gguf::Writer writer(folder.path() / "m.gguf");
    const auto fails = [](auto call, const char* message) {
        CHECK_THROWS_WITH_AS(call(), Contains(message), gguf::Error);
    };
    writer.set_u32("k", 1);
    fails([&] { writer.set_f32("k", 1); }, "m.gguf: key 'k': set twice");
    fails([&] { writer.set_f32("", 1); }, "key is empty");
    writer.add_tensor("t", TensorType::F32, Dims{2});
    fails([&] { writer.add_tensor("t", TensorType::F32, Dims{2}); }, "tensor 't': added twice");
    fails([&] { writer.add_tensor("", TensorType::F32, Dims{2}); }, "1 to 64 bytes");
    fails([&] { writer.add_tensor(std::string(65, 'n'), TensorType::F32, Dims{2}); }, "1 to 64 bytes");
    fails([&] { writer.add_tensor("u", TensorType::F32, Dims{}); }, "0 dimensions");
    fails([&] { writer.add_tensor("u", TensorType::F32, Dims{1, 1, 1, 1, 1}); }, "5 dimensions");
    fails([&] { writer.add_tensor("u", TensorType::F32, Dims{2, 0}); }, "a dimension is 0");
    fails([&] { writer.add_tensor("u", TensorType::Q4_K, Dims{128}); }, "128 columns are no multiple of the 256");
    fails([&] { writer.add_tensor("u", TensorType::F32, Dims{1u << 31, 1u << 31, 4}); }, "size overflows");
    fails([&] { writer.write(0, 0, {}); }, "before begin_data()");
    fails([&] { writer.finish(); }, "before begin_data()");
    fails([&] { gguf::Writer(folder.path() / "n.gguf", 24); }, "alignment 24 is no power of two");
    fails([&] { gguf::Writer(folder.path() / "n.gguf", 4); }, "alignment 4");
    writer.begin_data();
    fails([&] { writer.set_u32("late", 1); }, "header is already written");
    fails([&] { writer.add_tensor("late", TensorType::F32, Dims{1}); }, "header is already written");
    fails([&] { writer.begin_data(); }, "header is already written");
    fails([&] { writer.write(0, 4, counted_bytes(5)); }, "tensor 't': 5 bytes at offset 4 reach past its 8 bytes");
    fails([&] { writer.write(0, ~std::uint64_t{0}, counted_bytes(1)); }, "reach past its 8 bytes");
}

TEST_CASE("the system's refusals name the file and the reason") {
    const TemporaryFolder folder;
    {
        gguf::Writer writer(folder.path() / "no-such-folder" / "m.gguf");
        CHECK_THROWS_WITH_AS(writer.begin_data(), Contains("No such file or directory"), gguf::Error);
    }
    {
        // A limit on the size of files stands in for a full disk.
        std::signal(SIGXFSZ, SIG_IGN);
        rlimit before{};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
        const rlimit small{4096, before.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
        {
            gguf::Writer writer(folder.path() / "m.gguf");
            writer.add_tensor("t", TensorType::F32, Dims{4096});
            CHECK_THROWS_WITH_AS(writer.begin_data(), Contains("m.gguf: cannot give it"), gguf::Error);
        }
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    }
    {
        const auto path = folder.path() / "taken.gguf";
        std::filesystem::create_directory(path);
        gguf::Writer writer(path);
        writer.begin_data();
        CHECK_THROWS_WITH_AS(writer.finish(), Contains("taken.gguf: cannot finish writing: Is a directory"),
                             gguf::Error);
    }
    CHECK(folder.file_count() == 1);
}
