#include "host/tokenizer/special_tokens.h"

#include <algorithm>

namespace vigil {
namespace {

// Whether a user-defined token steers the model rather than being text: vocabularies also define runs of blanks and
// HTML tags so. Older files call even the markers of turns user-defined.
bool is_marker(std::string_view text) {
    if (text.size() < 3) return false;
    if (text.front() == '[' && text.back() == ']') return true;
    if (text.front() != '<' || text.back() != '>') return false;
    const auto is_tag_name = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '/'; };
    return !std::ranges::all_of(text.substr(1, text.size() - 2), is_tag_name);
}

}  // namespace

void SpecialTokens::add(std::string_view text, Token token, bool always) {
    if (text.empty() ||
        !entries_.try_emplace(std::string(text), Entry{token, always, always && !is_marker(text)}).second)
        return;
    auto& lengths = lengths_by_first_byte_[static_cast<unsigned char>(text.front())];
    const auto place = std::ranges::lower_bound(lengths, text.size(), std::greater<>{});
    if (place == lengths.end() || *place != text.size()) lengths.insert(place, text.size());
}

std::vector<SpecialTokens::Segment> SpecialTokens::split(std::string_view text, bool parse_special,
                                                         std::span<const Range> literal) const {
    struct Occurrence {
        std::size_t offset;
        std::size_t length;
        Token token;
    };
    std::vector<Occurrence> found;
    for (std::size_t i = 0; i < text.size(); ++i) {
        while (!literal.empty() && literal.front().end <= i) literal = literal.subspan(1);
        for (const std::size_t length : lengths_by_first_byte_[static_cast<unsigned char>(text[i])]) {
            if (length > text.size() - i) continue;
            const auto it = entries_.find(text.substr(i, length));
            if (it == entries_.end()) continue;
            const bool touches_literal = !literal.empty() && literal.front().begin < i + length;
            if (touches_literal ? it->second.in_literal : (parse_special || it->second.always)) {
                found.push_back({i, length, it->second.token});
            }
        }
    }

    // The longest first, then the leftmost; whatever overlaps one that was taken is dropped.
    std::ranges::stable_sort(found, [](const Occurrence& a, const Occurrence& b) { return a.length > b.length; });
    std::vector<bool> taken(found.empty() ? 0 : text.size());
    std::vector<Occurrence> kept;
    for (const Occurrence& occurrence : found) {
        // Nothing taken is shorter than this one, so an overlap shows at one of its ends.
        if (taken[occurrence.offset] || taken[occurrence.offset + occurrence.length - 1]) continue;
        std::fill_n(taken.begin() + static_cast<std::ptrdiff_t>(occurrence.offset), occurrence.length, true);
        kept.push_back(occurrence);
    }
    std::ranges::sort(kept, {}, &Occurrence::offset);

    std::vector<Segment> segments;
    std::size_t done = 0;
    for (const Occurrence& occurrence : kept) {
        if (occurrence.offset > done) segments.push_back({text.substr(done, occurrence.offset - done), no_token});
        segments.push_back({text.substr(occurrence.offset, occurrence.length), occurrence.token});
        done = occurrence.offset + occurrence.length;
    }
    if (done < text.size()) segments.push_back({text.substr(done), no_token});
    return segments;
}

}  // namespace vigil
