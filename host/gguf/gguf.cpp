// File: one GGUF model, put together from the headers of its files, and the typed look-ups over it.
#include "host/gguf/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <unordered_map>
#include <utility>

#include "host/gguf/cursor.h"
#include "host/gguf/header.h"
#include "host/gguf/mapping.h"
#include "host/gguf/split.h"
#include "host/gguf/types.h"

namespace vigil::gguf {

std::uint64_t TensorInfo::rows() const noexcept {
    std::uint64_t rows = 1;  // the parser has checked that the product fits
    for (std::size_t i = 1; i < dims.size(); ++i) rows *= dims[i];
    return rows;
}

// -- Array

void Array::fail(std::size_t i, const char* wanted) const {
    if (i >= size_) throw Error(fmt::format("{}: element {} of an array of {} was asked for", subject_, i, size_));
    throw Error(fmt::format("{}: an array of {}, but {} elements are expected", subject_,
                            value_type_name(element_type_), wanted));
}

namespace {

template <typename T>
T element(std::span<const std::byte> data, std::size_t i) {
    T value;
    std::memcpy(&value, data.data() + i * sizeof value, sizeof value);
    return value;
}

}  // namespace

std::int64_t Array::integer(std::size_t i) const {
    if (i >= size_) fail(i, "integer");
    switch (element_type_) {
        case ValueType::uint8:
        case ValueType::boolean:
            return element<std::uint8_t>(data_, i);
        case ValueType::int8:
            return element<std::int8_t>(data_, i);
        case ValueType::uint16:
            return element<std::uint16_t>(data_, i);
        case ValueType::int16:
            return element<std::int16_t>(data_, i);
        case ValueType::uint32:
            return element<std::uint32_t>(data_, i);
        case ValueType::int32:
            return element<std::int32_t>(data_, i);
        case ValueType::int64:
            return element<std::int64_t>(data_, i);
        case ValueType::uint64: {
            const auto value = element<std::uint64_t>(data_, i);
            if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
                throw Error(fmt::format("{}: element {} is {}, more than 2^63 - 1", subject_, i, value));
            }
            return static_cast<std::int64_t>(value);
        }
        default:
            fail(i, "integer");
    }
}

double Array::floating(std::size_t i) const {
    if (i >= size_) fail(i, "float");
    switch (element_type_) {
        case ValueType::float32:
            return element<float>(data_, i);
        case ValueType::float64:
            return element<double>(data_, i);
        default:
            fail(i, "float");
    }
}

std::string_view Array::string(std::size_t i) const {
    if (i >= size_ || element_type_ != ValueType::string) fail(i, "string");
    return strings_[i];
}

// -- File

struct File::Impl {
    std::filesystem::path path;
    std::vector<Mapping> mappings;  // what all views below point into
    Header first;                   // of the first file: its metadata is the model's
    std::vector<TensorInfo> tensors;
    std::unordered_map<std::string_view, std::size_t> tensor_index;
    std::uint64_t tensor_bytes = 0;

    Header add_file(const std::filesystem::path& file) {
        mappings.emplace_back(file);
        return parse_header(file.string(), mappings.back().bytes());
    }

    void add_tensors(Header& header) {
        for (const auto& [name, index] : header.tensor_index) {
            if (!tensor_index.emplace(name, tensors.size() + index).second) {
                throw Error(fmt::format("{}: tensor {}: occurs in an earlier file of the split set too", header.file,
                                        in_quotes(name)));
            }
        }
        for (auto& tensor : header.tensors) {
            tensor_bytes += tensor.data.size();
            tensors.push_back(std::move(tensor));
        }
    }
};

namespace {

// The keys by which a file says which part of a split set it is.
constexpr std::string_view split_count_key = "split.count";
constexpr std::string_view split_number_key = "split.no";
constexpr std::string_view split_tensors_key = "split.tensors.count";

// 1 for a file that stands alone; gguf-split --merge leaves a count of 0.
std::uint32_t split_count(const Header& header) {
    const auto* entry = header.find(split_count_key);
    return entry == nullptr ? 1 : std::max(header.u32(*entry), 1u);
}

std::uint32_t require_split_u32(const Header& header, std::string_view key) {
    const auto* entry = header.find(key);
    if (entry == nullptr) throw Error(fmt::format("{}: key '{}' is missing in a split file", header.file, key));
    return header.u32(*entry);
}

// Checks that `header` says of itself what its name says: part `number` (from 1) of `count`.
void check_split_keys(const Header& header, std::uint32_t number, std::uint32_t count) {
    if (split_count(header) != count) {
        throw Error(fmt::format("{}: key '{}' is {}, but by its name the set has {} files", header.file,
                                split_count_key, split_count(header), count));
    }
    const auto found = require_split_u32(header, split_number_key);
    if (found + std::uint64_t{1} != number) {
        throw Error(fmt::format("{}: key '{}' is {}, but by its name the file should have {}", header.file,
                                split_number_key, found, number - 1));
    }
}

}  // namespace

File File::open(const std::filesystem::path& path) {
    auto impl = std::make_unique<Impl>();
    impl->path = path;
    Header opened = impl->add_file(path);
    const auto count = split_count(opened);
    if (count == 1) {
        impl->add_tensors(opened);
        impl->first = std::move(opened);
        return File(std::move(impl));
    }

    const auto name = parse_split_name(path);
    if (!name) {
        throw Error(fmt::format("{}: one of {} files of a split set, but its name does not end in -NNNNN-of-{:05}.gguf",
                                path.string(), count, count));
    }
    check_split_keys(opened, name->number, name->count);
    impl->mappings.clear();
    for (std::uint32_t number = 1; number <= name->count; ++number) {
        Header header = impl->add_file(split_path(name->prefix, number, name->count));
        check_split_keys(header, number, name->count);
        impl->add_tensors(header);
        if (number == 1) impl->first = std::move(header);
    }
    const auto expected = require_split_u32(impl->first, split_tensors_key);
    if (expected != impl->tensors.size()) {
        throw Error(fmt::format("{}: key '{}' is {}, but the files of the set hold {} tensors", impl->first.file,
                                split_tensors_key, expected, impl->tensors.size()));
    }
    return File(std::move(impl));
}

File::File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;

const std::filesystem::path& File::path() const noexcept {
    return impl_->path;
}
std::uint32_t File::version() const noexcept {
    return impl_->first.version;
}
std::span<const KeyValue> File::metadata() const noexcept {
    return impl_->first.metadata;
}
std::span<const TensorInfo> File::tensors() const noexcept {
    return impl_->tensors;
}
std::uint64_t File::tensor_bytes() const noexcept {
    return impl_->tensor_bytes;
}

const KeyValue* File::find(std::string_view key) const noexcept {
    return impl_->first.find(key);
}

const TensorInfo* File::find_tensor(std::string_view name) const noexcept {
    const auto found = impl_->tensor_index.find(name);
    return found == impl_->tensor_index.end() ? nullptr : &impl_->tensors[found->second];
}

Error File::error(const std::string& what) const {
    return Error(fmt::format("{}: {}", impl_->path.string(), what));
}

// -- Typed look-ups

namespace {

float as_f32(const Header& header, const KeyValue& entry) {
    const auto* value = std::get_if<double>(&entry.value);
    if (value == nullptr) throw header.error(entry, fmt::format("the value is {}, not a float", describe(entry)));
    if (std::isfinite(*value) && std::abs(*value) > double{std::numeric_limits<float>::max()}) {
        throw header.error(entry, fmt::format("the value is {}, too large for a float32", describe(entry)));
    }
    return static_cast<float>(*value);
}

}  // namespace

std::uint32_t File::get_u32(std::string_view key, std::uint32_t fallback) const {
    const auto* entry = find(key);
    return entry == nullptr ? fallback : impl_->first.u32(*entry);
}

std::uint32_t File::require_u32(std::string_view key) const {
    return impl_->first.u32(require(key));
}

float File::get_f32(std::string_view key, float fallback) const {
    const auto* entry = find(key);
    return entry == nullptr ? fallback : as_f32(impl_->first, *entry);
}

float File::require_f32(std::string_view key) const {
    return as_f32(impl_->first, require(key));
}

bool File::get_bool(std::string_view key, bool fallback) const {
    const auto* entry = find(key);
    if (entry == nullptr) return fallback;
    if (const auto* value = std::get_if<bool>(&entry->value)) return *value;
    throw impl_->first.error(*entry, fmt::format("the value is {}, not a bool", describe(*entry)));
}

std::string_view File::get_string(std::string_view key, std::string_view fallback) const {
    return find(key) == nullptr ? fallback : require_string(key);
}

std::string_view File::require_string(std::string_view key) const {
    const auto& entry = require(key);
    if (const auto* value = std::get_if<std::string_view>(&entry.value)) return *value;
    throw impl_->first.error(entry, fmt::format("the value is {}, not a string", describe(entry)));
}

const Array* File::find_array(std::string_view key) const {
    return find(key) == nullptr ? nullptr : &require_array(key);
}

const Array& File::require_array(std::string_view key) const {
    const auto& entry = require(key);
    if (const auto* value = std::get_if<Array>(&entry.value)) return *value;
    throw impl_->first.error(entry, fmt::format("the value is {}, not an array", describe(entry)));
}

const TensorInfo& File::require_tensor(std::string_view name) const {
    if (const auto* tensor = find_tensor(name)) return *tensor;
    throw error(fmt::format("tensor {} is missing", in_quotes(name)));
}

const KeyValue& File::require(std::string_view key) const {
    if (const auto* entry = find(key)) return *entry;
    throw error(fmt::format("key {} is missing", in_quotes(key)));
}

}  // namespace vigil::gguf
