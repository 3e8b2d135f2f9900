// Reading GGUF files: typed, bounds-checked metadata and a tensor directory over a memory-mapped file.
// Format: the GGUF specification of ggml (versions 2 and 3, little endian).
//
// Nothing read from the file is trusted: every count, length, offset and product of dimensions is checked
// before it is used, and no allocation depends on an unchecked number. Every error is a gguf::Error whose
// text names the file, the key or tensor, the byte offset and the offending value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace vigil::gguf {

class Error : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

// ggml's tensor type numbers, as they stand in the file.
enum class TensorType : std::uint32_t {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    IQ4_NL = 20,
    IQ4_XS = 23,
    BF16 = 30,
    MXFP4 = 39,
};

struct TypeTraits {
    TensorType type;
    std::string_view name;        // as ggml prints it, "Q4_K"
    std::uint32_t block_weights;  // weights per block
    std::uint32_t block_bytes;    // bytes per block
};

// The traits of `type`, or nullptr for a number that names no known type.
const TypeTraits* find_type(std::uint32_t type) noexcept;
const TypeTraits& traits(TensorType type);
// Case-insensitive look-up of a type by name ("q4_k", "F16"); nullptr if there is none.
const TypeTraits* find_type(std::string_view name) noexcept;

enum class ValueType : std::uint32_t {
    uint8 = 0,
    int8 = 1,
    uint16 = 2,
    int16 = 3,
    uint32 = 4,
    int32 = 5,
    float32 = 6,
    boolean = 7,
    string = 8,
    array = 9,
    uint64 = 10,
    int64 = 11,
    float64 = 12,
};

// A view of an array in the mapped file. Element reads are bounds-checked.
class Array {
   public:
    ValueType element_type() const noexcept { return element_type_; }
    std::size_t size() const noexcept { return size_; }
    // Integer or boolean elements of any width.
    std::int64_t integer(std::size_t i) const;
    double floating(std::size_t i) const;
    std::string_view string(std::size_t i) const;
    // All elements as they stand in the file; empty for an array of strings.
    std::span<const std::byte> bytes() const noexcept { return data_; }

   private:
    friend class HeaderParser;
    [[noreturn]] void fail(std::size_t i, const char* wanted) const;

    ValueType element_type_{};
    std::size_t size_ = 0;
    std::span<const std::byte> data_;
    std::vector<std::string_view> strings_;  // only for arrays of strings, views into the mapping
    std::string subject_;                    // "FILE: key 'KEY'", for error messages
};

using Value = std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, Array>;

struct KeyValue {
    std::string key;
    ValueType type;
    Value value;
};

// A tensor as the file stores it: `dims[0]` is the fastest (columns), the rest are rows.
struct TensorInfo {
    std::string name;
    TensorType type;
    std::vector<std::uint64_t> dims;  // 1 to 4 entries, all ≥ 1
    std::span<const std::byte> data;  // inside the mapping
    std::uint64_t cols() const noexcept { return dims[0]; }
    std::uint64_t rows() const noexcept;  // product of dims[1..]
};

// One GGUF model: a single file, or all the files of a split set (name-00001-of-0000N.gguf; opened by any of them).
class File {
   public:
    // Maps and checks the whole header. Throws gguf::Error.
    static File open(const std::filesystem::path& path);

    File(File&&) noexcept;
    File& operator=(File&&) noexcept;
    ~File();

    const std::filesystem::path& path() const noexcept;
    std::uint32_t version() const noexcept;
    std::span<const KeyValue> metadata() const noexcept;   // in file order
    std::span<const TensorInfo> tensors() const noexcept;  // of all splits, in file order
    std::uint64_t tensor_bytes() const noexcept;

    const KeyValue* find(std::string_view key) const noexcept;
    const TensorInfo* find_tensor(std::string_view name) const noexcept;

    // Typed look-ups. get_*: the default if the key is missing; require_*: an error that names the key.
    // A value of another type, or out of range, is an error in both.
    std::uint32_t get_u32(std::string_view key, std::uint32_t fallback) const;
    std::uint32_t require_u32(std::string_view key) const;
    float get_f32(std::string_view key, float fallback) const;
    float require_f32(std::string_view key) const;
    bool get_bool(std::string_view key, bool fallback) const;
    std::string_view get_string(std::string_view key, std::string_view fallback) const;
    std::string_view require_string(std::string_view key) const;
    const Array* find_array(std::string_view key) const;  // nullptr if missing, error if no array
    const Array& require_array(std::string_view key) const;
    const TensorInfo& require_tensor(std::string_view name) const;

    // An Error that begins with this file's name: `file.error("tensor 'x': …")`.
    Error error(const std::string& what) const;

   private:
    struct Impl;
    explicit File(std::unique_ptr<Impl> impl);
    const KeyValue& require(std::string_view key) const;
    std::unique_ptr<Impl> impl_;
};

}  // namespace vigil::gguf
