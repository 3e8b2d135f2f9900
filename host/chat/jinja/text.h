// A string that remembers which of its bytes are data.
//
// Text written in the template is its author's; text from messages is data. Both are mixed by concatenation, slicing,
// replacing and so on; every byte keeps its provenance through all of it, so that the tokenizer can refuse to read a
// special token out of what a user typed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace vigil::jinja {

class Text {
   public:
    // A stretch of bytes of one provenance, from the end of the run before it.
    struct Run {
        std::size_t end;
        bool is_data;
    };

    Text() = default;
    explicit Text(std::string_view bytes, bool is_data = false) { append(bytes, is_data); }

    const std::string& bytes() const noexcept { return bytes_; }
    std::size_t size() const noexcept { return bytes_.size(); }
    bool empty() const noexcept { return bytes_.empty(); }
    const std::vector<Run>& runs() const noexcept { return runs_; }
    // The provenance of the byte at `offset`, which must be in range.
    bool is_data(std::size_t offset) const noexcept;
    bool has_data() const noexcept;

    void append(std::string_view bytes, bool is_data);
    void append(const Text& other) { append(other, 0, other.size()); }
    // Bytes [begin, end) of `other`, which may be this text itself.
    void append(const Text& other, std::size_t begin, std::size_t end);
    Text slice(std::size_t begin, std::size_t end) const;
    void reserve(std::size_t bytes) { bytes_.reserve(bytes); }

   private:
    std::size_t run_at(std::size_t offset) const noexcept;

    std::string bytes_;
    std::vector<Run> runs_;  // rising ends, the last one the size; neighbours differ in provenance
};

}  // namespace vigil::jinja
