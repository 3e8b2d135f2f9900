#include "host/gguf/writer.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <fmt/format.h>
#include <system_error>
#include <type_traits>
#include <unistd.h>
#include <utility>

#include "host/gguf/checked.h"
#include "host/gguf/cursor.h"
#include "host/gguf/types.h"

namespace vigil::gguf {
namespace {

constexpr std::string_view alignment_key = "general.alignment";
constexpr std::uint32_t version = 3;

template <typename T>
void append(std::string& bytes, T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_string(std::string& bytes, std::string_view text) {
    append(bytes, std::uint64_t{text.size()});
    bytes += text;
}

void append_array_head(std::string& bytes, ValueType element, std::size_t count) {
    append(bytes, static_cast<std::uint32_t>(element));
    append(bytes, std::uint64_t{count});
}

template <typename T>
void append_array(std::string& bytes, ValueType element, std::span<const T> values) {
    append_array_head(bytes, element, values.size());
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

// A number as the file stores `type`. The value came out of a file as that type, so no cast loses anything.
template <typename Number>
void append_as(std::string& bytes, ValueType type, Number value) {
    switch (type) {
        case ValueType::boolean:
        case ValueType::uint8:
            return append(bytes, static_cast<std::uint8_t>(value));
        case ValueType::int8:
            return append(bytes, static_cast<std::int8_t>(value));
        case ValueType::uint16:
            return append(bytes, static_cast<std::uint16_t>(value));
        case ValueType::int16:
            return append(bytes, static_cast<std::int16_t>(value));
        case ValueType::uint32:
            return append(bytes, static_cast<std::uint32_t>(value));
        case ValueType::int32:
            return append(bytes, static_cast<std::int32_t>(value));
        case ValueType::uint64:
            return append(bytes, static_cast<std::uint64_t>(value));
        case ValueType::int64:
            return append(bytes, static_cast<std::int64_t>(value));
        case ValueType::float32:
            return append(bytes, static_cast<float>(value));
        case ValueType::float64:
            return append(bytes, static_cast<double>(value));
        case ValueType::string:
        case ValueType::array:
            break;
    }
    throw Error(fmt::format("a {} is no number", value_type_name(type)));
}

void append_elements(std::string& bytes, const Array& array) {
    append_array_head(bytes, array.element_type(), array.size());
    if (array.element_type() == ValueType::string) {
        for (std::size_t i = 0; i < array.size(); ++i) append_string(bytes, array.string(i));
    } else {
        bytes.append(reinterpret_cast<const char*>(array.bytes().data()), array.bytes().size());
    }
}

std::span<const std::byte> as_bytes(const std::string& text) {
    return std::as_bytes(std::span(text));
}

}  // namespace

Writer::Writer(std::filesystem::path path, std::uint32_t alignment)
    : path_(std::move(path)),
      temporary_(fmt::format("{}.{}.partial", path_.string(), ::getpid())),
      alignment_(alignment) {
    if (!std::has_single_bit(alignment) || alignment < 8) {
        fail(fmt::format("the alignment {} is no power of two from 8 up", alignment));
    }
    if (alignment != default_alignment) {
        begin_value(alignment_key, ValueType::uint32);
        append(metadata_, alignment);
    }
}

Writer::~Writer() {
    if (file_ < 0) return;
    ::close(file_);
    ::unlink(temporary_.c_str());
}

void Writer::set_u16(std::string_view key, std::uint16_t value) {
    begin_value(key, ValueType::uint16);
    append(metadata_, value);
}

void Writer::set_u32(std::string_view key, std::uint32_t value) {
    begin_value(key, ValueType::uint32);
    append(metadata_, value);
}

void Writer::set_i32(std::string_view key, std::int32_t value) {
    begin_value(key, ValueType::int32);
    append(metadata_, value);
}

void Writer::set_u64(std::string_view key, std::uint64_t value) {
    begin_value(key, ValueType::uint64);
    append(metadata_, value);
}

void Writer::set_f32(std::string_view key, float value) {
    begin_value(key, ValueType::float32);
    append(metadata_, value);
}

void Writer::set_bool(std::string_view key, bool value) {
    begin_value(key, ValueType::boolean);
    append(metadata_, static_cast<std::uint8_t>(value));
}

void Writer::set_string(std::string_view key, std::string_view value) {
    begin_value(key, ValueType::string);
    append_string(metadata_, value);
}

void Writer::set_strings(std::string_view key, std::span<const std::string> values) {
    begin_value(key, ValueType::array);
    append_array_head(metadata_, ValueType::string, values.size());
    for (const auto& value : values) append_string(metadata_, value);
}

void Writer::set_i32s(std::string_view key, std::span<const std::int32_t> values) {
    begin_value(key, ValueType::array);
    append_array(metadata_, ValueType::int32, values);
}

void Writer::set_f32s(std::string_view key, std::span<const float> values) {
    begin_value(key, ValueType::array);
    append_array(metadata_, ValueType::float32, values);
}

void Writer::copy(const KeyValue& entry) {
    if (entry.key == alignment_key) return;
    begin_value(entry.key, entry.type);
    std::visit(
        [&](const auto& value) {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, Array>) {
                append_elements(metadata_, value);
            } else if constexpr (std::is_same_v<T, std::string_view>) {
                append_string(metadata_, value);
            } else {
                append_as(metadata_, entry.type, value);
            }
        },
        entry.value);
}

std::size_t Writer::add_tensor(std::string_view name, TensorType type, std::span<const std::uint64_t> dims) {
    require_header_open();
    const auto problem = [&](std::string_view what) { fail(fmt::format("tensor {}: {}", in_quotes(name), what)); };
    if (name.empty() || name.size() > 64) problem("the name must have 1 to 64 bytes");
    if (std::any_of(tensors_.begin(), tensors_.end(), [&](const Tensor& t) { return t.name == name; })) {
        problem("added twice");
    }
    if (dims.empty() || dims.size() > 4) problem(fmt::format("{} dimensions; 1 to 4 are allowed", dims.size()));
    const auto& format = traits(type);
    if (dims[0] % format.block_weights != 0) {
        problem(fmt::format("{} columns are no multiple of the {} weights in a block of {}", dims[0],
                            format.block_weights, format.name));
    }
    std::optional<std::uint64_t> size = dims[0] / format.block_weights * format.block_bytes;
    for (std::size_t i = 1; i < dims.size() && size; ++i) size = checked_multiply(*size, dims[i]);
    const auto padded = size ? checked_align_up(*size, alignment_) : std::nullopt;
    const auto end = padded ? checked_add(data_bytes_, *padded) : std::nullopt;
    if (!end) problem("the size overflows");
    if (*size == 0) problem("a dimension is 0");
    tensors_.push_back({std::string(name), type, {dims.begin(), dims.end()}, data_bytes_, *size});
    data_bytes_ = *end;
    return tensors_.size() - 1;
}

void Writer::begin_data() {
    require_header_open();
    std::string header = "GGUF";
    append(header, version);
    append(header, std::uint64_t{tensors_.size()});
    append(header, std::uint64_t{keys_.size()});
    header += metadata_;
    for (const auto& tensor : tensors_) {
        append_string(header, tensor.name);
        append(header, static_cast<std::uint32_t>(tensor.dims.size()));
        for (const auto dim : tensor.dims) append(header, dim);
        append(header, static_cast<std::uint32_t>(tensor.type));
        append(header, tensor.offset);
    }
    data_start_ = checked_align_up(header.size(), alignment_).value();

    file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file_ < 0) fail_system(fmt::format("create {}", temporary_.string()), errno);
    if (::ftruncate(file_, static_cast<off_t>(data_start_ + data_bytes_)) != 0) {
        fail_system(fmt::format("give it {} bytes", data_start_ + data_bytes_), errno);
    }
    write_at(0, as_bytes(header));
}

void Writer::write(std::size_t tensor, std::uint64_t offset, std::span<const std::byte> bytes) {
    if (file_ < 0) fail("data was written before begin_data()");
    const auto& target = tensors_.at(tensor);
    if (offset > target.size || bytes.size() > target.size - offset) {
        fail(fmt::format("tensor {}: {} bytes at offset {} reach past its {} bytes", in_quotes(target.name),
                         bytes.size(), offset, target.size));
    }
    write_at(data_start_ + target.offset + offset, bytes);
    written_ += bytes.size();
}

void Writer::finish() {
    if (file_ < 0) fail("finish() before begin_data()");
    std::uint64_t expected = 0;
    for (const auto& tensor : tensors_) expected += tensor.size;
    if (written_ != expected) {
        fail(fmt::format("{} bytes of tensor data were written, {} are expected", written_.load(), expected));
    }
    // Some file systems report a full disk only here.
    const int closed = ::close(std::exchange(file_, -1));
    const int close_error = errno;
    if (closed != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
        const int error = closed != 0 ? close_error : errno;
        ::unlink(temporary_.c_str());
        fail_system("finish writing", error);
    }
}

void Writer::begin_value(std::string_view key, ValueType type) {
    require_header_open();
    if (key.empty()) fail("a metadata key is empty");
    if (std::find(keys_.begin(), keys_.end(), key) != keys_.end()) {
        fail(fmt::format("key {}: set twice", in_quotes(key)));
    }
    keys_.emplace_back(key);
    append_string(metadata_, key);
    append(metadata_, static_cast<std::uint32_t>(type));
}

void Writer::require_header_open() const {
    if (data_start_ != 0) fail("the header is already written");
}

void Writer::fail(std::string_view problem) const {
    throw Error(fmt::format("{}: {}", path_.string(), problem));
}

void Writer::fail_system(std::string_view action, int error) const {
    fail(fmt::format("cannot {}: {}", action, std::generic_category().message(error)));
}

void Writer::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto count = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_system(fmt::format("write {} bytes at byte {}", bytes.size(), offset), errno);
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
    }
}

}  // namespace vigil::gguf
