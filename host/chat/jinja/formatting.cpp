#include "host/chat/jinja/formatting.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <optional>

#include "host/chat/jinja/arguments.h"
#include "host/chat/jinja/error.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/printing.h"
#include "host/chat/jinja/unicode.h"

namespace vigil::jinja {
namespace {

constexpr std::int64_t widest = 1 << 20;
constexpr std::int64_t most_digits = 100;

// How one value is written, in whichever of the two notations it was asked for.
struct Spec {
    std::string fill = " ";
    char align = '\0';  // '<', '>', '^', '=' (padding behind the sign) or none
    char sign = '-';    // '+' or ' ' show something for positive numbers
    bool alternate = false;
    bool grouping = false;
    std::int64_t width = 0;
    std::optional<std::int64_t> precision;
    char type = '\0';
};

class Reader {
   public:
    explicit Reader(std::string_view text) : text_(text) {}
    bool done() const { return at_ >= text_.size(); }
    char peek() const { return done() ? '\0' : text_[at_]; }
    char take() { return done() ? '\0' : text_[at_++]; }
    bool skip(char c) {
        if (peek() != c || done()) return false;
        ++at_;
        return true;
    }
    std::size_t at() const { return at_; }
    std::string_view rest() const { return text_.substr(at_); }
    void skip_bytes(std::size_t count) { at_ += count; }
    std::optional<std::int64_t> number() {
        if (peek() < '0' || peek() > '9') return std::nullopt;
        std::int64_t value = 0;
        while (peek() >= '0' && peek() <= '9') {
            value = value * 10 + (take() - '0');
            if (value > widest) throw Error(fmt::format("a width or precision over {} is not supported", widest));
        }
        return value;
    }

   private:
    std::string_view text_;
    std::size_t at_ = 0;
};

std::string group_thousands(std::string digits) {
    for (std::size_t i = std::min(digits.find('.'), digits.size()); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
    return digits;
}

// The digits of a number without its sign.
std::string magnitude(const Spec& spec, const Value& value) {
    if (spec.precision && *spec.precision > most_digits) {
        throw Error(fmt::format("a precision over {} is not supported", most_digits));
    }
    const auto precision = static_cast<int>(spec.precision.value_or(6));
    const auto integer = as_integer(value);
    const auto number = as_number(value);
    if (!number) {
        if (value.is_undefined()) fail_undefined(value);
        throw Error(fmt::format("the format '{}' needs a number, got '{}'", spec.type, type_name(value)));
    }
    const double size = std::abs(*number);
    switch (spec.type) {
        case 'd':
        case 'x':
        case 'X':
        case 'o':
        case 'b': {
            if (!integer) throw Error(fmt::format("the format '{}' needs an integer, got 'float'", spec.type));
            const std::uint64_t bits = *integer < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(*integer)
                                                    : static_cast<std::uint64_t>(*integer);
            if (spec.type == 'd') return fmt::format("{}", bits);
            const std::string prefix = spec.alternate ? std::string{'0', spec.type} : std::string();
            if (spec.type == 'x') return prefix + fmt::format("{:x}", bits);
            if (spec.type == 'X') return prefix + fmt::format("{:X}", bits);
            if (spec.type == 'o') return prefix + fmt::format("{:o}", bits);
            return prefix + fmt::format("{:b}", bits);
        }
        case 'f':
        case 'F':
            return fmt::format("{:.{}f}", size, precision);
        case 'e':
            return fmt::format("{:.{}e}", size, precision);
        case 'E':
            return fmt::format("{:.{}E}", size, precision);
        case 'g':
            return fmt::format("{:.{}g}", size, std::max(precision, 1));
        case 'G':
            return fmt::format("{:.{}G}", size, std::max(precision, 1));
        case '%':
            return fmt::format("{:.{}f}%", size * 100, precision);
        default:
            throw Error(fmt::format("the format '{}' is not supported", spec.type));
    }
}

void pad(Budget& budget, Text& out, const std::string& fill, std::int64_t count) {
    if (count <= 0) return;
    budget.allocate(static_cast<std::uint64_t>(count) * fill.size());
    for (std::int64_t i = 0; i < count; ++i) out.append(fill, false);
}

void append(Budget& budget, Text& out, const Text& body) {
    budget.allocate(body.size());
    budget.check_output(out.size() + body.size());
    out.append(body);
}

void append_aligned(Budget& budget, Text& out, const Spec& spec, const Text& body, char default_align) {
    const std::int64_t missing = spec.width - length(budget, Value(body));
    const char align = spec.align ? spec.align : default_align;
    const std::int64_t left = missing <= 0 ? 0 : align == '>' ? missing : align == '^' ? missing / 2 : 0;
    pad(budget, out, spec.fill, left);
    append(budget, out, body);
    pad(budget, out, spec.fill, missing - left);
}

void append_number(Budget& budget, Text& out, const Spec& spec, const Value& value) {
    std::string digits = magnitude(spec, value);
    if (spec.grouping) digits = group_thousands(std::move(digits));
    const bool negative = std::signbit(*as_number(value));
    const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
    if (spec.align == '=') {
        out.append(sign, false);
        pad(budget, out, spec.fill, spec.width - static_cast<std::int64_t>(sign.size() + digits.size()));
        out.append(digits, false);
    } else {
        append_aligned(budget, out, spec, Text(sign + digits), '>');
    }
}

void append_string(Budget& budget, Text& out, const Spec& spec, const Text& text, char default_align) {
    if (!spec.precision) return append_aligned(budget, out, spec, text, default_align);
    const std::size_t end = unicode::offset_of(text.bytes(), static_cast<std::size_t>(*spec.precision));
    append_aligned(budget, out, spec, text.slice(0, end), default_align);
}

// The values of a "%" format, one after the other or by name.
class PercentValues {
   public:
    explicit PercentValues(const Value& values) : values_(values) {
        const List* list = values.list();
        if (list && list->shape == List::Shape::tuple) tuple_ = list;
    }
    const Value& next() {
        if (tuple_) {
            if (used_ < tuple_->items.size()) return tuple_->items[used_++];
        } else if (used_ == 0) {
            ++used_;
            return values_;
        }
        throw Error("a '%' format has more places than values");
    }
    const Value& named(std::string_view name) {
        const Dict* dict = values_.dict();
        if (!dict) throw Error("a '%(name)' format needs a dict");
        named_ = true;
        const Value* value = dict->find(name);
        if (!value) throw Error(fmt::format("a '%' format names '{}', which the dict has not", name));
        return *value;
    }
    void check_all_used() const {
        const std::size_t count = tuple_ ? tuple_->items.size() : 1;
        if (!named_ && !values_.dict() && used_ < count) throw Error("a '%' format has fewer places than values");
    }

   private:
    const Value& values_;
    const List* tuple_ = nullptr;
    std::size_t used_ = 0;
    bool named_ = false;
};

}  // namespace

Value percent_format(Budget& budget, const Text& format, const Value& values) {
    PercentValues source(values);
    Text out;
    Reader reader(format.bytes());
    while (!reader.done()) {
        const std::size_t plain = std::min(reader.rest().find('%'), reader.rest().size());
        append(budget, out, format.slice(reader.at(), reader.at() + plain));
        reader.skip_bytes(plain);
        if (!reader.skip('%')) break;
        budget.step();
        const std::size_t start = reader.at();
        if (reader.skip('%')) {
            append(budget, out, format.slice(start, start + 1));
            continue;
        }
        const Value* value = nullptr;
        if (reader.skip('(')) {
            const std::size_t end = reader.rest().find(')');
            if (end == std::string_view::npos) throw Error("a '%(' format is not closed");
            value = &source.named(reader.rest().substr(0, end));
            reader.skip_bytes(end + 1);
        }
        Spec spec;
        while (std::string_view("-+ #0").find(reader.peek()) != std::string_view::npos && !reader.done()) {
            const char flag = reader.take();
            if (flag == '-') spec.align = '<';
            if (flag == '+' || (flag == ' ' && spec.sign == '-')) spec.sign = flag;
            if (flag == '#') spec.alternate = true;
            if (flag == '0' && !spec.align) {
                spec.align = '=';
                spec.fill = std::string("0");
            }
        }
        if (spec.align == '<') spec.fill = std::string(" ");
        if (reader.peek() == '*') throw Error("'*' in a '%' format is not supported");
        spec.width = reader.number().value_or(0);
        if (reader.skip('.')) spec.precision = reader.number().value_or(0);
        spec.type = reader.take();
        if (!value) value = &source.next();
        if (spec.type == 's' || spec.type == 'r') {
            if (spec.align == '=') spec = {.fill = " ", .width = spec.width, .precision = spec.precision, .type = 's'};
            Text text;
            const bool as_str = format.bytes()[reader.at() - 1] == 's';
            as_str ? print(budget, text, *value) : print_repr(budget, text, *value);
            append_string(budget, out, spec, text, '>');
            continue;
        }
        Value number = *value;
        if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
        if (const double* d = value->floating(); d && spec.type == 'd') {
            if (!(std::abs(*d) < 9e18)) throw Error("a float is out of range for the format 'd'");
            number = static_cast<std::int64_t>(*d);
        }
        if (spec.type == '\0' || spec.type == '%' || spec.type == 'b') throw Error("a '%' format is cut short");
        append_number(budget, out, spec, number);
    }
    source.check_all_used();
    return charged(budget, std::move(out));
}

namespace {

bool is_align(char c) {
    return c == '<' || c == '>' || c == '^' || c == '=';
}

Spec parse_brace_spec(std::string_view text) {
    Spec spec;
    Reader reader(text);
    if (!text.empty()) {
        const std::size_t first = unicode::at(text, 0).length;
        if (first < text.size() && is_align(text[first])) {
            spec.fill = text.substr(0, first);
            spec.align = text[first];
            reader.skip_bytes(first + 1);
        } else if (is_align(text[0])) {
            spec.align = reader.take();
        }
    }
    if (reader.peek() == '+' || reader.peek() == '-' || reader.peek() == ' ') spec.sign = reader.take();
    spec.alternate = reader.skip('#');
    if (reader.skip('0') && !spec.align) {
        spec.align = '=';
        spec.fill = std::string("0");
    }
    spec.width = reader.number().value_or(0);
    spec.grouping = reader.skip(',');
    if (reader.skip('.')) {
        spec.precision = reader.number();
        if (!spec.precision) throw Error("a format's precision is missing");
    }
    spec.type = reader.take();
    if (!reader.done()) throw Error(fmt::format("the format '{}' is not supported", text));
    return spec;
}

void append_braced(Budget& budget, Text& out, std::string_view spec_text, const Value& value) {
    Spec spec = parse_brace_spec(spec_text);
    if (const Text* text = value.text()) {
        if (spec.type != '\0' && spec.type != 's') {
            throw Error(fmt::format("the format '{}' does not work on a string", spec.type));
        }
        return append_string(budget, out, spec, *text, '<');
    }
    if (spec_text.empty()) {
        Text text;
        print(budget, text, value);
        return append(budget, out, text);
    }
    if (spec.type == '\0' && as_integer(value)) spec.type = 'd';
    if (spec.type == '\0')
        throw Error(fmt::format("the format '{}' does not work on '{}'", spec_text, type_name(value)));
    append_number(budget, out, spec, value);
}

}  // namespace

Value brace_format(Budget& budget, const Text& format, const Arguments& arguments) {
    Text out;
    Reader reader(format.bytes());
    std::size_t automatic = 0;
    while (!reader.done()) {
        const std::size_t plain = std::min(reader.rest().find_first_of("{}"), reader.rest().size());
        append(budget, out, format.slice(reader.at(), reader.at() + plain));
        reader.skip_bytes(plain);
        if (reader.done()) break;
        budget.step();
        const std::size_t start = reader.at();
        const char brace = reader.take();
        if (reader.skip(brace)) {
            append(budget, out, format.slice(start, start + 1));
            continue;
        }
        const std::size_t end = reader.rest().find('}');
        if (brace == '}' || end == std::string_view::npos) throw Error("a brace in a format stands alone");
        std::string_view field = reader.rest().substr(0, end);
        if (field.find('{') != std::string_view::npos) throw Error("a format within a format is not supported");
        reader.skip_bytes(end + 1);
        const std::size_t colon = std::min(field.find(':'), field.size());
        const std::string_view spec = colon < field.size() ? field.substr(colon + 1) : std::string_view();
        field = field.substr(0, colon);
        const bool as_repr = field.ends_with("!r"), as_str = field.ends_with("!s");
        if (as_repr || as_str) field.remove_suffix(2);

        const Value* value = nullptr;
        Reader name(field);
        const auto number = name.number();
        if (field.empty() || (number && name.done())) {
            const std::size_t index = number ? static_cast<std::size_t>(*number) : automatic++;
            if (index < arguments.positional.size()) value = &arguments.positional[index];
        } else {
            budget.step(arguments.named.size() / 16);
            for (const auto& [key, named] : arguments.named) {
                if (key == field) value = &named;
            }
        }
        if (!value) throw Error(fmt::format("a format asks for '{}', which was not given", field));
        Text converted;
        if (as_repr) print_repr(budget, converted, *value);
        if (as_str) print(budget, converted, *value);
        append_braced(budget, out, spec, as_repr || as_str ? Value(std::move(converted)) : *value);
    }
    return charged(budget, std::move(out));
}

}  // namespace vigil::jinja
