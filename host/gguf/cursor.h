// Reads a GGUF header front to back. Every read is checked against the end of the file; an error names the file, what
// was being read, the byte offset and the offending value.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace vigil::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read as they lie in the file");

class Cursor {
   public:
    Cursor(std::string file, std::span<const std::byte> bytes) : file_(std::move(file)), bytes_(bytes) {}

    const std::string& file() const noexcept { return file_; }
    std::uint64_t offset() const noexcept { return offset_; }
    std::uint64_t remaining() const noexcept { return bytes_.size() - offset_; }

    // What errors are about from here on: "key 'general.name'".
    void set_subject(std::string subject) { subject_ = std::move(subject); }

    // `field` names the part of the subject that is read: "value type".
    template <typename T>
    T number(std::string_view field) {
        T value;
        std::memcpy(&value, take(sizeof value, field).data(), sizeof value);
        return value;
    }

    // A string of the file: its length in eight bytes, then that many bytes. The view points into the file.
    std::string_view string(std::string_view field);

    std::span<const std::byte> take(std::uint64_t size, std::string_view field);

    // Throws gguf::Error "FILE: SUBJECT: problem (at byte OFFSET)".
    [[noreturn]] void fail(std::uint64_t offset, std::string_view problem) const;

   private:
    std::string file_;
    std::string subject_ = "header";
    std::span<const std::byte> bytes_;
    std::uint64_t offset_ = 0;
};

// `text` from an untrusted file in single quotes: unprintable bytes as \xNN, at most 100 bytes of it.
std::string in_quotes(std::string_view text);

}  // namespace vigil::gguf
