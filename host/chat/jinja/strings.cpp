#include "host/chat/jinja/strings.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/unicode.h"

namespace vigil::jinja::strings {
namespace {

constexpr std::size_t npos = std::string_view::npos;

// The last `part` that ends at or before `end`.
std::size_t find_before(Budget& budget, std::string_view text, std::string_view part, std::size_t end) {
    if (part.size() > end) return npos;
    // Unlike the forward search this one may compare the part at every place.
    budget.touch(part.size());
    const std::size_t found = text.rfind(part, end - part.size());
    const std::size_t passed = end - (found == npos ? 0 : found);
    budget.touch(passed * std::max<std::size_t>(part.size() / 8, 1));
    return found;
}

Value piece(Budget& budget, const Text& text, std::size_t begin, std::size_t end) {
    budget.allocate(end - begin);
    return charged(budget, text.slice(begin, end));
}

// `text` with every code point mapped; each result has its source's provenance.
using Mapping = std::function<void(std::string& out, char32_t c)>;
Value map_code_points(Budget& budget, const Text& text, const Mapping& mapping) {
    budget.allocate(text.size());
    budget.step(text.size() / 32);
    Text result;
    result.reserve(text.size());
    std::string mapped;
    std::size_t start = 0;
    for (const Text::Run& run : text.runs()) {
        mapped.clear();
        for (std::size_t at = start; at < run.end;) {
            const unicode::CodePoint c = unicode::at(text.bytes(), at);
            mapping(mapped, c.value);
            at += c.length;
        }
        result.append(mapped, run.is_data);
        start = run.end;
    }
    return charged(budget, std::move(result));
}

bool is_cased(char32_t c) {
    return unicode::is_upper(c) || unicode::is_lower(c) || unicode::is_title(c);
}

// Lower case, with the sigma that Greek words end in.
class Lowering {
   public:
    explicit Lowering(std::string_view text) : text_(text) {}
    void operator()(std::string& out, char32_t c) {
        constexpr char32_t capital_sigma = 0x3A3;
        const std::size_t at = at_;
        at_ += unicode::at(text_, at).length;
        if (c == capital_sigma) {
            out += ends_word(at) ? "\xCF\x82" : "\xCF\x83";
        } else {
            unicode::append_lower(out, c);
        }
    }
    void skip(char32_t) { at_ += unicode::at(text_, at_).length; }

   private:
    bool ends_word(std::size_t at) const {
        const std::size_t next = at + unicode::at(text_, at).length;
        const bool letter_before = at > 0 && is_cased(unicode::before(text_, at).value);
        const bool letter_behind = next < text_.size() && is_cased(unicode::at(text_, next).value);
        return letter_before && !letter_behind;
    }
    std::string_view text_;
    std::size_t at_ = 0;
};

void reverse_items(std::vector<Value>& items) {
    std::ranges::reverse(items);
}

}  // namespace

std::size_t find(std::string_view text, std::string_view part, std::size_t from) noexcept {
    if (from > text.size()) return npos;
    if (part.empty()) return from;
    // memmem is linear; std::string_view::find compares the part at every place.
    const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
    return found ? static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) : npos;
}

Value strip(Budget& budget, const Text& text, Side side, const Text* set) {
    budget.touch(text.size());
    const std::string& bytes = text.bytes();
    const auto goes = [&](char32_t c) {
        if (!set) return unicode::is_space(c);
        for (std::size_t at = 0; at < set->size();) {
            const unicode::CodePoint other = unicode::at(set->bytes(), at);
            if (other.value == c) return true;
            at += other.length;
        }
        return false;
    };
    const std::uint64_t cost = set ? set->size() / 16 : 0;
    std::size_t begin = 0, end = bytes.size();
    while (side != Side::right && begin < end) {
        const unicode::CodePoint c = unicode::at(bytes, begin);
        if (!goes(c.value)) break;
        budget.step(cost);
        begin += c.length;
    }
    while (side != Side::left && end > begin) {
        const unicode::CodePoint c = unicode::before(bytes, end);
        if (!goes(c.value)) break;
        budget.step(cost);
        end -= c.length;
    }
    return piece(budget, text, begin, end);
}

Value replace(Budget& budget, const Text& text, const Text& old, const Text& by, std::int64_t most) {
    budget.touch(text.size());
    std::uint64_t left = most < 0 ? UINT64_MAX : static_cast<std::uint64_t>(most);
    Text result;
    std::size_t done = 0, at = 0;
    const auto add = [&](const Text& source, std::size_t begin, std::size_t end) {
        budget.allocate(end - begin);
        result.append(source, begin, end);
    };
    if (old.empty()) {
        // Python puts the replacement around every character.
        for (; left > 0; --left) {
            budget.step();
            add(by, 0, by.size());
            if (at == text.size()) break;
            const std::size_t length = unicode::at(text.bytes(), at).length;
            add(text, at, at + length);
            at += length;
            done = at;
        }
        add(text, done, text.size());
        return charged(budget, std::move(result));
    }
    for (; left > 0; --left) {
        const std::size_t found = strings::find(text.bytes(), old.bytes(), done);
        if (found == npos) break;
        budget.step();
        add(text, done, found);
        add(by, 0, by.size());
        done = found + old.size();
    }
    add(text, done, text.size());
    return charged(budget, std::move(result));
}

namespace {

Value split_at_space(Budget& budget, const Text& text, std::int64_t most, bool from_right) {
    const std::string& bytes = text.bytes();
    budget.touch(text.size());
    const auto space_behind = [&](std::size_t at) {
        while (at < bytes.size()) {
            const unicode::CodePoint c = unicode::at(bytes, at);
            if (!unicode::is_space(c.value)) break;
            at += c.length;
        }
        return at;
    };
    const auto space_before = [&](std::size_t at) {
        while (at > 0) {
            const unicode::CodePoint c = unicode::before(bytes, at);
            if (!unicode::is_space(c.value)) break;
            at -= c.length;
        }
        return at;
    };
    std::vector<Value> items;
    const auto add = [&](std::size_t begin, std::size_t end) {
        budget.step();
        charge_list(budget, 1);
        items.push_back(piece(budget, text, begin, end));
    };
    if (!from_right) {
        std::size_t at = space_behind(0);
        while (at < bytes.size()) {
            if (most >= 0 && static_cast<std::int64_t>(items.size()) == most) {
                add(at, bytes.size());
                break;
            }
            std::size_t end = at;
            while (end < bytes.size() && !unicode::is_space(unicode::at(bytes, end).value)) {
                end += unicode::at(bytes, end).length;
            }
            add(at, end);
            at = space_behind(end);
        }
        return List(std::move(items));
    }
    std::size_t end = space_before(bytes.size());
    while (end > 0) {
        if (most >= 0 && static_cast<std::int64_t>(items.size()) == most) {
            add(0, end);
            break;
        }
        std::size_t at = end;
        while (at > 0 && !unicode::is_space(unicode::before(bytes, at).value)) at -= unicode::before(bytes, at).length;
        add(at, end);
        end = space_before(at);
    }
    reverse_items(items);
    return List(std::move(items));
}

}  // namespace

Value split(Budget& budget, const Text& text, const Text* separator, std::int64_t most, bool from_right) {
    if (!separator) return split_at_space(budget, text, most, from_right);
    if (separator->empty()) throw Error("a string cannot be split at an empty separator");
    budget.touch(text.size());
    const std::string& bytes = text.bytes();
    std::vector<Value> items;
    const auto add = [&](std::size_t begin, std::size_t end) {
        budget.step();
        charge_list(budget, 1);
        items.push_back(piece(budget, text, begin, end));
    };
    const auto may_cut = [&] { return most < 0 || static_cast<std::int64_t>(items.size()) < most; };
    if (!from_right) {
        std::size_t begin = 0;
        while (may_cut()) {
            const std::size_t found = strings::find(bytes, separator->bytes(), begin);
            if (found == npos) break;
            add(begin, found);
            begin = found + separator->size();
        }
        add(begin, bytes.size());
        return List(std::move(items));
    }
    std::size_t end = bytes.size();
    while (may_cut()) {
        const std::size_t found = find_before(budget, bytes, separator->bytes(), end);
        if (found == npos) break;
        add(found + separator->size(), end);
        end = found;
    }
    add(0, end);
    reverse_items(items);
    return List(std::move(items));
}

std::vector<Text> split_lines(Budget& budget, const Text& text, bool keep_ends) {
    budget.touch(text.size());
    const std::string& bytes = text.bytes();
    std::vector<Text> lines;
    std::size_t begin = 0;
    const auto add = [&](std::size_t end) {
        budget.step();
        budget.allocate(sizeof(Text) + (end - begin) + sizeof(Text::Run));
        lines.push_back(text.slice(begin, end));
    };
    for (std::size_t at = 0; at < bytes.size();) {
        const unicode::CodePoint c = unicode::at(bytes, at);
        std::size_t next = at + c.length;
        if (unicode::is_line_break(c.value)) {
            if (c.value == '\r' && next < bytes.size() && bytes[next] == '\n') ++next;
            add(keep_ends ? next : at);
            begin = next;
        }
        at = next;
    }
    if (begin < bytes.size()) add(bytes.size());
    return lines;
}

Value partition(Budget& budget, const Text& text, const Text& separator, bool from_right) {
    if (separator.empty()) throw Error("a string cannot be partitioned at an empty separator");
    budget.touch(text.size());
    const std::size_t found = from_right ? find_before(budget, text.bytes(), separator.bytes(), text.size())
                                         : strings::find(text.bytes(), separator.bytes());
    budget.allocate(text.size());
    if (found == npos) {
        const Value empty = make_text("");
        return from_right ? make_tuple({empty, empty, text}) : make_tuple({text, empty, empty});
    }
    const std::size_t behind = found + separator.size();
    return make_tuple({text.slice(0, found), text.slice(found, behind), text.slice(behind, text.size())});
}

Value upper(Budget& budget, const Text& text) {
    return map_code_points(budget, text, unicode::append_upper);
}

Value lower(Budget& budget, const Text& text) {
    Lowering lowering(text.bytes());
    return map_code_points(budget, text, std::ref(lowering));
}

Value capitalize(Budget& budget, const Text& text) {
    Lowering lowering(text.bytes());
    bool first = true;
    return map_code_points(budget, text, [&](std::string& out, char32_t c) {
        if (!first) return lowering(out, c);
        first = false;
        lowering.skip(c);
        unicode::append_title(out, c);
    });
}

Value title(Budget& budget, const Text& text) {
    Lowering lowering(text.bytes());
    bool in_word = false;
    return map_code_points(budget, text, [&](std::string& out, char32_t c) {
        if (in_word) {
            lowering(out, c);
        } else {
            lowering.skip(c);
            unicode::append_title(out, c);
        }
        in_word = is_cased(c);
    });
}

Value title_filter(Budget& budget, const Text& text) {
    Lowering lowering(text.bytes());
    bool in_word = false;
    return map_code_points(budget, text, [&](std::string& out, char32_t c) {
        const bool separates = c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || unicode::is_space(c);
        if (in_word) {
            lowering(out, c);
        } else {
            lowering.skip(c);
            unicode::append_upper(out, c);
        }
        in_word = !separates;
    });
}

Value swap_case(Budget& budget, const Text& text) {
    Lowering lowering(text.bytes());
    return map_code_points(budget, text, [&](std::string& out, char32_t c) {
        if (unicode::is_upper(c)) return lowering(out, c);
        lowering.skip(c);
        unicode::append_upper(out, c);
    });
}

Value justify(Budget& budget, const Text& text, std::int64_t width, const Text& fill, Side text_stands) {
    const std::int64_t size = length(budget, Value(text));
    if (width <= size) return text;
    const auto missing = static_cast<std::uint64_t>(width) - static_cast<std::uint64_t>(size);
    budget.allocate(missing);
    budget.allocate(text.size() + missing * fill.size());
    budget.step(missing / 16);
    // Where the blanks do not divide evenly, Python's center puts the odd one left only for an odd width.
    std::uint64_t left = 0;
    if (text_stands == Side::right) left = missing;
    if (text_stands == Side::both) left = missing / 2 + (missing & static_cast<std::uint64_t>(width) & 1);
    Text result;
    for (std::uint64_t i = 0; i < left; ++i) result.append(fill);
    result.append(text);
    for (std::uint64_t i = left; i < missing; ++i) result.append(fill);
    return charged(budget, std::move(result));
}

}  // namespace vigil::jinja::strings
