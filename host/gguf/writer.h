// Writing a GGUF file (version 3): metadata and tensor directory first, then the tensors' data in any order, by any
// number of threads.
//
//     Writer writer("model.gguf");
//     writer.set_string("general.architecture", "llama");
//     const auto id = writer.add_tensor("output.weight", TensorType::Q8_0, {cols, rows});
//     writer.begin_data();
//     writer.write(id, 0, bytes);
//     writer.finish();
//
// The file is written under a temporary name beside its own and renamed by finish(): a reader sees all of it or
// nothing. Without finish() nothing is left. Every failure is a gguf::Error with the file's name and, from the system,
// its reason.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host/gguf/gguf.h"

namespace vigil::gguf {

class Writer {
   public:
    static constexpr std::uint32_t default_alignment = 32;

    // `alignment` of the tensors' data in bytes: a power of two, at least 8. Creates nothing yet.
    explicit Writer(std::filesystem::path path, std::uint32_t alignment = default_alignment);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // Metadata, written in the order of the calls. A key can be set once; general.alignment is the constructor's.
    void set_u16(std::string_view key, std::uint16_t value);
    void set_u32(std::string_view key, std::uint32_t value);
    void set_i32(std::string_view key, std::int32_t value);
    void set_u64(std::string_view key, std::uint64_t value);
    void set_f32(std::string_view key, float value);
    void set_bool(std::string_view key, bool value);
    void set_string(std::string_view key, std::string_view value);
    void set_strings(std::string_view key, std::span<const std::string> values);
    void set_i32s(std::string_view key, std::span<const std::int32_t> values);
    void set_f32s(std::string_view key, std::span<const float> values);
    // The same key, type and value as in another file. general.alignment is passed over.
    void copy(const KeyValue& entry);

    // Adds a tensor and gives its number. Columns must be a multiple of the type's block, dims 1 to 4 entries ≥ 1.
    std::size_t add_tensor(std::string_view name, TensorType type, std::span<const std::uint64_t> dims);
    std::size_t tensor_count() const noexcept { return tensors_.size(); }
    std::uint64_t tensor_bytes(std::size_t tensor) const { return tensors_.at(tensor).size; }

    // Writes the header and gives the file its full size. Nothing can be added to the header afterwards.
    void begin_data();

    // Writes part of a tensor's data, `offset` bytes from the tensor's start. Threads may call this at the same time.
    void write(std::size_t tensor, std::uint64_t offset, std::span<const std::byte> bytes);

    // Checks that as many bytes were written as the tensors have, and gives the file its name.
    void finish();

   private:
    struct Tensor {
        std::string name;
        TensorType type;
        std::vector<std::uint64_t> dims;
        std::uint64_t offset;  // from the start of the data section
        std::uint64_t size;
    };

    void begin_value(std::string_view key, ValueType type);
    void require_header_open() const;
    [[noreturn]] void fail(std::string_view problem) const;
    [[noreturn]] void fail_system(std::string_view action, int error) const;
    void write_at(std::uint64_t offset, std::span<const std::byte> bytes);

    std::filesystem::path path_;
    std::filesystem::path temporary_;
    std::uint32_t alignment_;
    int file_ = -1;
    std::string metadata_;  // key-value pairs as they go to the file
    std::vector<std::string> keys_;
    std::vector<Tensor> tensors_;
    std::uint64_t data_start_ = 0;
    std::uint64_t data_bytes_ = 0;  // with the padding between tensors
    std::atomic<std::uint64_t> written_{0};
};

}  // namespace vigil::gguf
