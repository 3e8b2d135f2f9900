#include "host/chat/jinja/text.h"

#include <algorithm>

namespace vigil::jinja {

std::size_t Text::run_at(std::size_t offset) const noexcept {
    const auto place = std::ranges::upper_bound(runs_, offset, {}, &Run::end);
    return static_cast<std::size_t>(place - runs_.begin());
}

bool Text::is_data(std::size_t offset) const noexcept {
    return runs_[run_at(offset)].is_data;
}

bool Text::has_data() const noexcept {
    return std::ranges::any_of(runs_, &Run::is_data);
}

void Text::append(std::string_view bytes, bool is_data) {
    if (bytes.empty()) return;
    bytes_ += bytes;
    if (!runs_.empty() && runs_.back().is_data == is_data) {
        runs_.back().end = bytes_.size();
    } else {
        runs_.push_back({bytes_.size(), is_data});
    }
}

void Text::append(const Text& other, std::size_t begin, std::size_t end) {
    if (&other == this) {
        const Text copy = slice(begin, end);
        append(copy, 0, copy.size());
        return;
    }
    std::size_t run = begin < end ? other.run_at(begin) : 0;
    while (begin < end) {
        const std::size_t stop = std::min(end, other.runs_[run].end);
        append(std::string_view(other.bytes_).substr(begin, stop - begin), other.runs_[run].is_data);
        begin = stop;
        ++run;
    }
}

Text Text::slice(std::size_t begin, std::size_t end) const {
    Text part;
    part.append(*this, begin, end);
    return part;
}

}  // namespace vigil::jinja
