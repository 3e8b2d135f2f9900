#include "host/gguf/header.h"

#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <limits>
#include <optional>
#include <type_traits>

#include "host/gguf/checked.h"
#include "host/gguf/cursor.h"
#include "host/gguf/types.h"

namespace vigil::gguf {
namespace {

constexpr std::string_view magic = "GGUF";
constexpr std::uint32_t default_alignment = 32;
constexpr std::uint32_t least_alignment = 8;  // the specification: a multiple of 8
constexpr std::size_t longest_key = 65535;    // the specification: at most 2^16 - 1 bytes
constexpr std::size_t longest_tensor_name = 64;
constexpr std::uint32_t most_dims = 4;

// The fewest bytes an entry can take, to refuse absurd counts before looping: key length and one byte of key, value
// type, one byte of value; and name length, name, number of dimensions, one dimension, type, offset.
constexpr std::uint64_t least_key_value_bytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t least_tensor_bytes = 8 + 1 + 4 + 8 + 4 + 8;

}  // namespace

// Holds what the steps of parse_header() share. A class, not functions, because Array lets only it fill in its fields.
class HeaderParser {
   public:
    HeaderParser(const std::string& file, std::span<const std::byte> bytes) : bytes_(bytes), cursor_(file, bytes) {
        header_.file = file;
    }

    Header parse() {
        read_magic_and_version();
        const auto n_tensors = read_count("tensor count", least_tensor_bytes);
        const auto n_keys = read_count("metadata count", least_key_value_bytes);
        for (std::uint64_t i = 0; i < n_keys; ++i) read_key_value(i);
        read_alignment();
        std::vector<PlacedTensor> placed;
        for (std::uint64_t i = 0; i < n_tensors; ++i) placed.push_back(read_tensor(i));
        place_tensors(placed);
        return std::move(header_);
    }

   private:
    // A tensor whose data has a size and an offset from the start of the data section, but no checked place yet.
    struct PlacedTensor {
        std::size_t index;
        std::uint64_t offset;
        std::uint64_t size;
        std::uint64_t offset_field;  // where in the file the offset stands
    };

    void read_magic_and_version() {
        const auto start = cursor_.take(magic.size(), "magic");
        const std::string_view found(reinterpret_cast<const char*>(start.data()), start.size());
        if (found != magic)
            cursor_.fail(0, fmt::format("the magic is {}, not 'GGUF': not a GGUF file", in_quotes(found)));
        header_.version = cursor_.number<std::uint32_t>("version");
        const std::uint32_t version = header_.version;
        if (version == 2 || version == 3) return;
        if (version != 0 && (version & 0xffff) == 0) {
            cursor_.fail(
                4, fmt::format("big-endian file (version reads {:#010x}); only little-endian files are read", version));
        }
        cursor_.fail(4, fmt::format("GGUF version {} is not supported; versions 2 and 3 are", version));
    }

    std::uint64_t read_count(std::string_view field, std::uint64_t least_bytes) {
        const std::uint64_t at = cursor_.offset();
        const auto count = cursor_.number<std::uint64_t>(field);
        if (count > cursor_.remaining() / least_bytes) {
            cursor_.fail(at, fmt::format("the {} {} cannot be true: the file has only {} more bytes", field, count,
                                         cursor_.remaining()));
        }
        return count;
    }

    void read_key_value(std::uint64_t number) {
        cursor_.set_subject(fmt::format("metadata entry {}", number));
        const std::uint64_t start = cursor_.offset();
        const auto key = cursor_.string("key");
        if (key.empty()) cursor_.fail(start, "the key is empty");
        if (key.size() > longest_key) {
            cursor_.fail(start, fmt::format("the key has {} bytes, more than {}", key.size(), longest_key));
        }
        cursor_.set_subject(fmt::format("key {}", in_quotes(key)));
        if (!header_.key_index.emplace(key, header_.metadata.size()).second) {
            cursor_.fail(start, "the key occurs twice");
        }
        const auto type = read_value_type("value type");
        const std::uint64_t value_offset = cursor_.offset();
        header_.value_offsets.push_back(value_offset);
        header_.metadata.push_back({std::string(key), type, read_value(type, key)});
    }

    ValueType read_value_type(std::string_view field) {
        const std::uint64_t at = cursor_.offset();
        const auto type = cursor_.number<std::uint32_t>(field);
        if (type > static_cast<std::uint32_t>(ValueType::float64)) {
            cursor_.fail(at, fmt::format("{} {} is unknown", field, type));
        }
        return static_cast<ValueType>(type);
    }

    Value read_value(ValueType type, std::string_view key) {
        switch (type) {
            case ValueType::uint8:
                return std::uint64_t{cursor_.number<std::uint8_t>("value")};
            case ValueType::uint16:
                return std::uint64_t{cursor_.number<std::uint16_t>("value")};
            case ValueType::uint32:
                return std::uint64_t{cursor_.number<std::uint32_t>("value")};
            case ValueType::uint64:
                return cursor_.number<std::uint64_t>("value");
            case ValueType::int8:
                return std::int64_t{cursor_.number<std::int8_t>("value")};
            case ValueType::int16:
                return std::int64_t{cursor_.number<std::int16_t>("value")};
            case ValueType::int32:
                return std::int64_t{cursor_.number<std::int32_t>("value")};
            case ValueType::int64:
                return cursor_.number<std::int64_t>("value");
            case ValueType::float32:
                return double{cursor_.number<float>("value")};
            case ValueType::float64:
                return cursor_.number<double>("value");
            case ValueType::boolean: {
                const std::uint64_t at = cursor_.offset();
                const auto value = cursor_.number<std::uint8_t>("value");
                check_boolean(value, at);
                return value != 0;
            }
            case ValueType::string:
                return cursor_.string("value");
            case ValueType::array:
                return read_array(key);
        }
        cursor_.fail(cursor_.offset(), "the value type is unknown");
    }

    Array read_array(std::string_view key) {
        const std::uint64_t start = cursor_.offset();
        Array array;
        array.subject_ = fmt::format("{}: key {}", cursor_.file(), in_quotes(key));
        array.element_type_ = read_value_type("array element type");
        if (array.element_type_ == ValueType::array) cursor_.fail(start, "arrays of arrays are not supported");

        const std::uint64_t count_offset = cursor_.offset();
        const auto count = cursor_.number<std::uint64_t>("array length");
        const bool strings = array.element_type_ == ValueType::string;
        const std::uint64_t least_width = strings ? sizeof(std::uint64_t) : value_width(array.element_type_);
        if (count > cursor_.remaining() / least_width) {
            cursor_.fail(count_offset,
                         fmt::format("the array length {} cannot be true: {} needs {} bytes or more each "
                                     "and the file has only {} more bytes",
                                     count, value_type_name(array.element_type_), least_width, cursor_.remaining()));
        }
        array.size_ = count;
        if (strings) {
            array.strings_.reserve(count);
            for (std::uint64_t i = 0; i < count; ++i) array.strings_.push_back(cursor_.string("array element"));
            return array;
        }
        const std::uint64_t data_offset = cursor_.offset();
        array.data_ = cursor_.take(count * least_width, "array");
        if (array.element_type_ == ValueType::boolean) {
            for (std::uint64_t i = 0; i < count; ++i) {
                check_boolean(std::to_integer<std::uint8_t>(array.data_[i]), data_offset + i);
            }
        }
        return array;
    }

    void check_boolean(std::uint8_t value, std::uint64_t at) const {
        if (value > 1) cursor_.fail(at, fmt::format("a bool is {}, not 0 or 1", value));
    }

    void read_alignment() {
        const auto* entry = header_.find("general.alignment");
        if (entry == nullptr) return;
        alignment_ = header_.u32(*entry);
        if (!std::has_single_bit(alignment_) || alignment_ < least_alignment) {
            throw header_.error(
                *entry, fmt::format("the alignment {} is no power of two from {} up", alignment_, least_alignment));
        }
    }

    PlacedTensor read_tensor(std::uint64_t number) {
        cursor_.set_subject(fmt::format("tensor entry {}", number));
        const std::uint64_t start = cursor_.offset();
        const auto name = cursor_.string("name");
        if (name.empty()) cursor_.fail(start, "the name is empty");
        if (name.size() > longest_tensor_name) {
            cursor_.fail(start, fmt::format("the name {} has {} bytes, more than {}", in_quotes(name), name.size(),
                                            longest_tensor_name));
        }
        cursor_.set_subject(fmt::format("tensor {}", in_quotes(name)));
        if (!header_.tensor_index.emplace(name, header_.tensors.size()).second) {
            cursor_.fail(start, "the tensor occurs twice");
        }
        auto dims = read_dims();
        const std::uint64_t type_field = cursor_.offset();
        const auto type = cursor_.number<std::uint32_t>("type");
        const auto* known = find_type(type);
        if (known == nullptr) {
            cursor_.fail(type_field, fmt::format("tensor type {} is not known; known are {}",
                                                 describe_tensor_type(type), type_names()));
        }
        const std::uint64_t size = data_size(*known, dims, type_field);
        const std::uint64_t offset_field = cursor_.offset();
        const auto offset = cursor_.number<std::uint64_t>("data offset");
        if (offset % alignment_ != 0) {
            cursor_.fail(offset_field,
                         fmt::format("the data offset {} is no multiple of the alignment {}", offset, alignment_));
        }
        header_.tensors.push_back({std::string(name), known->type, std::move(dims), {}});
        return {header_.tensors.size() - 1, offset, size, offset_field};
    }

    std::vector<std::uint64_t> read_dims() {
        const std::uint64_t count_field = cursor_.offset();
        const auto count = cursor_.number<std::uint32_t>("number of dimensions");
        if (count < 1 || count > most_dims) {
            cursor_.fail(count_field, fmt::format("{} dimensions; 1 to {} are allowed", count, most_dims));
        }
        std::vector<std::uint64_t> dims(count);
        std::uint64_t elements = 1;
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::uint64_t at = cursor_.offset();
            dims[i] = cursor_.number<std::uint64_t>("dimensions");
            if (dims[i] == 0) cursor_.fail(at, fmt::format("dimension {} is 0", i));
            const auto product = checked_multiply(elements, dims[i]);
            if (!product || *product > std::numeric_limits<std::int64_t>::max()) {
                cursor_.fail(at, fmt::format("dimension {} is {}: the number of elements overflows", i, dims[i]));
            }
            elements = *product;
        }
        return dims;
    }

    std::uint64_t data_size(const TypeTraits& type, const std::vector<std::uint64_t>& dims, std::uint64_t type_field) {
        if (dims[0] % type.block_weights != 0) {
            cursor_.fail(type_field, fmt::format("{} columns are no multiple of the {} weights in a block of {}",
                                                 dims[0], type.block_weights, type.name));
        }
        std::optional<std::uint64_t> size = dims[0] / type.block_weights;
        for (std::size_t i = 1; i < dims.size(); ++i) size = checked_multiply(*size, dims[i]);  // read_dims() checked
        size = checked_multiply(*size, type.block_bytes);
        if (!size) cursor_.fail(type_field, "the size of the data overflows");
        return *size;
    }

    // Gives every tensor its bytes; nothing may reach past the end of the file or into another tensor. (Tensors that
    // share bytes would let a small file ask for any amount of memory at upload.)
    void place_tensors(std::vector<PlacedTensor>& placed) {
        if (placed.empty()) return;
        const auto data_start = checked_align_up(cursor_.offset(), alignment_);
        const std::uint64_t data_bytes = data_start && *data_start <= bytes_.size() ? bytes_.size() - *data_start : 0;
        for (const auto& tensor : placed) {
            const auto end = checked_add(tensor.offset, tensor.size);
            if (end && *end <= data_bytes) {
                header_.tensors[tensor.index].data = bytes_.subspan(*data_start + tensor.offset, tensor.size);
                continue;
            }
            blame(tensor);
            cursor_.fail(tensor.offset_field,
                         fmt::format("the data (offset {}, {} bytes) reaches past the end of the file, which has {} "
                                     "bytes of data",
                                     tensor.offset, tensor.size, data_bytes));
        }
        std::sort(placed.begin(), placed.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
        for (std::size_t i = 1; i < placed.size(); ++i) {
            const auto& before = placed[i - 1];
            if (before.offset + before.size <= placed[i].offset) continue;
            blame(placed[i]);
            cursor_.fail(
                placed[i].offset_field,
                fmt::format("the data (offset {}) overlaps that of tensor {} (offset {}, {} bytes)", placed[i].offset,
                            in_quotes(header_.tensors[before.index].name), before.offset, before.size));
        }
    }

    void blame(const PlacedTensor& tensor) {
        cursor_.set_subject(fmt::format("tensor {}", in_quotes(header_.tensors[tensor.index].name)));
    }

    std::span<const std::byte> bytes_;
    Cursor cursor_;
    Header header_;
    std::uint32_t alignment_ = default_alignment;
};

Header parse_header(const std::string& file, std::span<const std::byte> bytes) {
    return HeaderParser(file, bytes).parse();
}

const KeyValue* Header::find(std::string_view key) const noexcept {
    const auto found = key_index.find(key);
    return found == key_index.end() ? nullptr : &metadata[found->second];
}

std::uint32_t Header::u32(const KeyValue& entry) const {
    constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
    if (const auto* number = std::get_if<std::uint64_t>(&entry.value)) {
        if (*number <= most) return static_cast<std::uint32_t>(*number);
    } else if (const auto* with_sign = std::get_if<std::int64_t>(&entry.value)) {
        if (*with_sign >= 0 && static_cast<std::uint64_t>(*with_sign) <= most) {
            return static_cast<std::uint32_t>(*with_sign);
        }
    }
    throw error(entry, fmt::format("the value is {}, not an integer from 0 to {}", describe(entry), most));
}

Error Header::error(const KeyValue& entry, std::string_view problem) const {
    const auto index = static_cast<std::size_t>(&entry - metadata.data());
    return Error(fmt::format("{}: key {}: {} (at byte {})", file, in_quotes(entry.key), problem, value_offsets[index]));
}

std::string describe(const KeyValue& entry) {
    const auto type = value_type_name(entry.type);
    return std::visit(
        [&](const auto& value) {
            using T = std::decay_t<decltype(value)>;
            if constexpr (std::is_same_v<T, Array>) {
                return fmt::format("an array of {} {}", value.size(), value_type_name(value.element_type()));
            } else if constexpr (std::is_same_v<T, std::string_view>) {
                return fmt::format("the string {}", in_quotes(value));
            } else {
                return fmt::format("the {} {}", type, value);
            }
        },
        entry.value);
}

}  // namespace vigil::gguf
