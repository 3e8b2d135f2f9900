#include "host/chat/jinja/printing.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/unicode.h"

namespace vigil::jinja {
namespace {

// Appends with the budget charged.
class Printer {
   public:
    Printer(Budget& budget, Text& out) : budget_(budget), out_(out) {}

    void add(std::string_view bytes, bool is_data) {
        budget_.allocate(bytes.size());
        budget_.check_output(out_.size() + bytes.size());
        out_.append(bytes, is_data);
    }
    void add(const Text& text, std::size_t begin, std::size_t end) {
        budget_.allocate(end - begin);
        budget_.check_output(out_.size() + (end - begin));
        out_.append(text, begin, end);
    }

    void repr(const Value& value) {
        budget_.step();
        if (const Text* text = value.text()) {
            string_repr(*text);
        } else if (const List* list = value.list()) {
            list_repr(*list);
        } else if (const Dict* dict = value.dict()) {
            dict_repr(*dict);
        } else if (const Namespace* ns = value.name_space()) {
            const Level level(budget_);  // a namespace may hold itself
            add("<Namespace ", true);
            dict_repr(ns->attributes);
            add(">", true);
        } else if (value.is_undefined()) {
            add("Undefined", false);
        } else if (value.is_none()) {
            add("None", false);
        } else if (const bool* b = value.boolean()) {
            add(*b ? "True" : "False", false);
        } else if (const std::int64_t* i = value.integer()) {
            add(fmt::format("{}", *i), false);
        } else if (const double* d = value.floating()) {
            add(float_repr(*d), false);
        } else if (const Loop* loop = value.loop()) {
            add(fmt::format("<LoopContext {}/{}>", loop->index0 + 1, loop->items.size()), false);
        } else if (const Callable* callable = value.callable()) {
            add(fmt::format("<Macro '{}'>", callable->name), false);
        } else {
            throw Error(
                fmt::format("a value of type '{}' cannot be printed; '|list' makes it a list", type_name(value)));
        }
    }

   private:
    void string_repr(const Text& text) {
        const std::string& bytes = text.bytes();
        const bool double_quoted = bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos;
        const char quote = double_quoted ? '"' : '\'';
        const bool is_data = text.has_data();
        add(std::string_view(&quote, 1), is_data);
        std::size_t plain = 0;
        for (std::size_t at = 0; at < bytes.size();) {
            const unicode::CodePoint c = unicode::at(bytes, at);
            const std::string escape = escape_of(c.value, quote);
            if (!escape.empty()) {
                add(text, plain, at);
                add(escape, text.is_data(at));
                plain = at + c.length;
            }
            at += c.length;
        }
        add(text, plain, bytes.size());
        add(std::string_view(&quote, 1), is_data);
    }

    // How repr() writes a character that does not stand for itself; empty if it does.
    static std::string escape_of(char32_t c, char quote) {
        if (c == static_cast<char32_t>(quote) || c == '\\') return {'\\', static_cast<char>(c)};
        if (c == '\n') return "\\n";
        if (c == '\r') return "\\r";
        if (c == '\t') return "\\t";
        if ((c >= 0x20 && c < 0x7F) || (c >= 0x7F && unicode::is_printable(c))) return {};
        const auto code = static_cast<std::uint32_t>(c);
        if (c <= 0xFF) return fmt::format("\\x{:02x}", code);
        if (c <= 0xFFFF) return fmt::format("\\u{:04x}", code);
        return fmt::format("\\U{:08x}", code);
    }

    void list_repr(const List& sequence) {
        using enum List::Shape;
        if (sequence.shape == range) {
            add(sequence.step == 1 ? fmt::format("range({}, {})", sequence.start, sequence.stop)
                                   : fmt::format("range({}, {}, {})", sequence.start, sequence.stop, sequence.step),
                false);
            return;
        }
        const bool is_view = sequence.shape == keys || sequence.shape == values || sequence.shape == items;
        if (sequence.shape == keys) add("dict_keys(", true);
        if (sequence.shape == values) add("dict_values(", true);
        if (sequence.shape == items) add("dict_items(", true);
        add(sequence.shape == tuple ? "(" : "[", true);
        for (std::size_t i = 0; i < sequence.items.size(); ++i) {
            if (i > 0) add(", ", true);
            repr(sequence.items[i]);
        }
        if (sequence.shape == tuple && sequence.items.size() == 1) add(",", true);
        add(sequence.shape == tuple ? ")" : "]", true);
        if (is_view) add(")", true);
    }

    void dict_repr(const Dict& dict) {
        add("{", true);
        bool first = true;
        for (const Dict::Entry& entry : dict.entries()) {
            if (!first) add(", ", true);
            first = false;
            repr(entry.first);
            add(": ", true);
            repr(entry.second);
        }
        add("}", true);
    }

    Budget& budget_;
    Text& out_;
};

class JsonPrinter {
   public:
    JsonPrinter(Budget& budget, Text& out, const JsonStyle& style)
        : budget_(budget), printer_(budget, out), style_(style) {}

    void value(const Value& value, int depth) {
        budget_.step();
        if (const Text* text = value.text()) {
            string(*text);
        } else if (const List* list = value.list();
                   list && (list->shape == List::Shape::list || list->shape == List::Shape::tuple)) {
            array(*list, depth);
        } else if (const Dict* dict = value.dict()) {
            object(*dict, depth);
        } else if (value.is_none()) {
            printer_.add("null", false);
        } else if (const bool* b = value.boolean()) {
            printer_.add(*b ? "true" : "false", false);
        } else if (const std::int64_t* i = value.integer()) {
            printer_.add(fmt::format("{}", *i), false);
        } else if (const double* d = value.floating()) {
            printer_.add(number(*d), false);
        } else {
            throw Error(fmt::format("a value of type '{}' cannot be written as JSON", type_name(value)));
        }
    }

   private:
    static std::string number(double d) {
        if (std::isnan(d)) return "NaN";
        if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
        return float_repr(d);
    }

    void string(const Text& text) {
        const std::string& bytes = text.bytes();
        const bool is_data = text.has_data();
        printer_.add("\"", is_data);
        std::size_t plain = 0;
        for (std::size_t at = 0; at < bytes.size();) {
            const unicode::CodePoint c = unicode::at(bytes, at);
            const std::string escape = escape_of(c.value);
            if (!escape.empty()) {
                printer_.add(text, plain, at);
                printer_.add(escape, text.is_data(at));
                plain = at + c.length;
            }
            at += c.length;
        }
        printer_.add(text, plain, bytes.size());
        printer_.add("\"", is_data);
    }

    std::string escape_of(char32_t c) const {
        switch (c) {
            case '"':
                return "\\\"";
            case '\\':
                return "\\\\";
            case '\n':
                return "\\n";
            case '\r':
                return "\\r";
            case '\t':
                return "\\t";
            case '\b':
                return "\\b";
            case '\f':
                return "\\f";
            default:
                break;
        }
        const auto code = static_cast<std::uint32_t>(c);
        if (c < 0x20) return fmt::format("\\u{:04x}", code);
        if (!style_.ensure_ascii || c < 0x7F) return {};
        if (c <= 0xFFFF) return fmt::format("\\u{:04x}", code);
        const std::uint32_t rest = code - 0x10000;
        return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    }

    void line_break(int depth) {
        if (!style_.indent) return;
        printer_.add("\n", true);
        for (int i = 0; i < depth; ++i) printer_.add(*style_.indent, true);
    }

    // With an indent the line break takes the place of the separator's blank, unless the separator was chosen.
    void separate(bool first, int depth) {
        if (!first) printer_.add(style_.item_separator, true);
        line_break(depth);
    }

    void array(const List& list, int depth) {
        if (list.items.empty()) return printer_.add("[]", true);
        printer_.add("[", true);
        for (std::size_t i = 0; i < list.items.size(); ++i) {
            separate(i == 0, depth + 1);
            value(list.items[i], depth + 1);
        }
        line_break(depth);
        printer_.add("]", true);
    }

    void object(const Dict& dict, int depth) {
        if (dict.size() == 0) return printer_.add("{}", true);
        printer_.add("{", true);
        std::vector<const Dict::Entry*> entries;
        budget_.allocate(sizeof(void*) * dict.size());
        for (const Dict::Entry& entry : dict.entries()) entries.push_back(&entry);
        if (style_.sort_keys) {
            std::ranges::stable_sort(entries, [&](const Dict::Entry* a, const Dict::Entry* b) {
                return std::is_lt(order(budget_, "<", a->first, b->first));
            });
        }
        bool first = true;
        for (const Dict::Entry* entry : entries) {
            separate(first, depth + 1);
            first = false;
            key(entry->first);
            printer_.add(style_.key_separator, true);
            value(entry->second, depth + 1);
        }
        line_break(depth);
        printer_.add("}", true);
    }

    void key(const Value& key) {
        if (const Text* text = key.text()) return string(*text);
        std::string name;
        if (key.is_none()) name = "null";
        if (const bool* b = key.boolean()) name = *b ? "true" : "false";
        if (const std::int64_t* i = key.integer()) name = fmt::format("{}", *i);
        if (const double* d = key.floating()) name = number(*d);
        if (name.empty()) {
            throw Error(fmt::format("a dict key of type '{}' cannot be written as JSON", type_name(key)));
        }
        printer_.add(fmt::format("\"{}\"", name), false);
    }

    Budget& budget_;
    Printer printer_;
    const JsonStyle& style_;
};

}  // namespace

std::string float_repr(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    char buffer[32];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
    const std::string_view shortest(buffer, static_cast<std::size_t>(end - buffer));
    const std::size_t e = shortest.find('e');
    const bool negative = shortest.front() == '-';
    std::string digits(shortest.substr(negative ? 1 : 0, e - (negative ? 1 : 0)));
    std::erase(digits, '.');
    int exponent = 0;
    const char* exponent_text = shortest.data() + e + 1;
    if (*exponent_text == '+') ++exponent_text;
    std::from_chars(exponent_text, end, exponent);

    // Python writes an exponent from 1e16 up and below 1e-4.
    const int count = static_cast<int>(digits.size());
    const auto zeros = [](int n) { return std::string(static_cast<std::size_t>(n), '0'); };
    std::string text;
    if (exponent < -4 || exponent >= 16) {
        text = fmt::format("{}{}{}e{}{:02}", digits[0], count > 1 ? "." : "", digits.substr(1),
                           exponent < 0 ? '-' : '+', std::abs(exponent));
    } else if (exponent < 0) {
        text = fmt::format("0.{}{}", zeros(-exponent - 1), digits);
    } else if (count <= exponent + 1) {
        text = fmt::format("{}{}.0", digits, zeros(exponent + 1 - count));
    } else {
        const auto whole = static_cast<std::size_t>(exponent + 1);
        text = fmt::format("{}.{}", digits.substr(0, whole), digits.substr(whole));
    }
    return negative ? fmt::format("-{}", text) : text;
}

void print(Budget& budget, Text& out, const Value& value) {
    budget.step();
    Printer printer(budget, out);
    if (const Text* text = value.text()) {
        printer.add(*text, 0, text->size());
    } else if (!value.is_undefined()) {
        printer.repr(value);
    }
}

Value to_text(Budget& budget, const Value& value) {
    if (value.text()) return value;
    Text text;
    print(budget, text, value);
    return charged(budget, std::move(text));
}

void print_repr(Budget& budget, Text& out, const Value& value) {
    Printer(budget, out).repr(value);
}

void print_json(Budget& budget, Text& out, const Value& value, const JsonStyle& style) {
    JsonPrinter(budget, out, style).value(value, 0);
}

}  // namespace vigil::jinja
