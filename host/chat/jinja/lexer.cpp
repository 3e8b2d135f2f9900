#include "host/chat/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <optional>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/string_literal.h"
#include "host/chat/jinja/unicode.h"
#include "host/tokenizer/utf8.h"

namespace vigil::jinja {
namespace {

using Kind = Lexeme::Kind;

// Every line break as "\n", and no line break at the end.
std::string normalize(std::string_view source) {
    std::string out;
    out.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i] != '\r') {
            out += source[i];
            continue;
        }
        out += '\n';
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
    if (out.ends_with('\n')) out.pop_back();
    return out;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

class Lexer {
   public:
    explicit Lexer(std::string source) : source_(std::move(source)) {}

    std::vector<Lexeme> run() {
        while (at_ < source_.size()) text_until_tag();
        add(Kind::end, "");
        return std::move(lexemes_);
    }

   private:
    char peek(std::size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
    bool looking_at(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }

    void advance(std::size_t bytes) {
        line_ += static_cast<int>(std::ranges::count(std::string_view(source_).substr(at_, bytes), '\n'));
        at_ += bytes;
    }
    void add(Kind kind, std::string text) { lexemes_.push_back({kind, std::move(text), line_}); }
    [[noreturn]] void fail(const std::string& what) const { throw Error(what, line_); }

    std::size_t spaces_from(std::size_t offset) const {
        std::size_t end = offset;
        while (end < source_.size()) {
            const unicode::CodePoint c = unicode::at(source_, end);
            if (!unicode::is_space(c.value)) break;
            end += c.length;
        }
        return end - offset;
    }
    void skip_spaces() { advance(spaces_from(at_)); }

    // What stands before a tag, less what the tag's sign and lstrip_blocks take away.
    std::string_view stripped(std::string_view text, char sign, bool is_variable) const {
        if (sign == '-') {
            while (!text.empty()) {
                const unicode::CodePoint c = unicode::before(text, text.size());
                if (!unicode::is_space(c.value)) break;
                text.remove_suffix(c.length);
            }
            return text;
        }
        if (sign == '+' || is_variable) return text;
        const std::size_t line_start = text.rfind('\n') + 1;  // npos + 1 is 0
        if (line_start == 0 && !line_starting_) return text;
        for (std::size_t i = line_start; i < text.size();) {
            const unicode::CodePoint c = unicode::at(text, i);
            if (!unicode::is_space(c.value)) return text;
            i += c.length;
        }
        // A blank stretch must not be empty for Jinja to strip it, but then there is nothing to strip.
        return text.substr(0, line_start);
    }

    void text_until_tag() {
        std::size_t tag = at_;
        while ((tag = source_.find('{', tag)) != std::string::npos) {
            const char second = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
            if (second == '{' || second == '%' || second == '#') break;
            ++tag;
        }
        if (tag == std::string::npos) {
            add(Kind::data, source_.substr(at_));
            advance(source_.size() - at_);
            return;
        }
        const std::size_t length = tag - at_;
        const char kind = source_[tag + 1];
        const char sign_char = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
        const char sign = sign_char == '-' || sign_char == '+' ? sign_char : '\0';
        const std::string_view kept = stripped(std::string_view(source_).substr(at_, length), sign, kind == '{');
        if (!kept.empty()) add(Kind::data, std::string(kept));
        advance(length);
        const std::size_t opening = sign ? 3 : 2;
        if (kind == '#') {
            advance(opening);
            comment();
        } else if (kind == '{') {
            add(Kind::variable_begin, "");
            advance(opening);
            tag_body(Kind::variable_end, "}}", false);
        } else if (const std::optional<std::size_t> raw = raw_opening(opening)) {
            advance(*raw);
            raw_text();
        } else {
            add(Kind::block_begin, "");
            advance(opening);
            tag_body(Kind::block_end, "%}", true);
        }
    }

    // The length of "{% raw %}" here, with the space that its closing "-" takes.
    std::optional<std::size_t> raw_opening(std::size_t opening) const {
        std::size_t i = at_ + opening;
        i += spaces_from(i);
        if (source_.compare(i, 3, "raw") != 0) return std::nullopt;
        i += 3;
        i += spaces_from(i);
        if (source_.compare(i, 3, "-%}") == 0) {
            i += 3;
            i += spaces_from(i);
        } else if (source_.compare(i, 2, "%}") == 0) {
            i += 2;
        } else {
            return std::nullopt;
        }
        return i - at_;
    }

    // Steps over a tag's end, `mark` with its sign, and the space that goes with it. False if it does not stand here.
    bool closing(std::string_view mark, bool may_keep, bool trims_newline) {
        std::size_t i = at_;
        const char sign = peek();
        if (sign == '-' || (sign == '+' && may_keep)) ++i;
        if (std::string_view(source_).substr(i, mark.size()) != mark) return false;
        i += mark.size();
        if (i - at_ > mark.size()) {
            if (sign == '-') i += spaces_from(i);
        } else if (trims_newline && i < source_.size() && source_[i] == '\n') {
            ++i;
        }
        line_starting_ = source_[i - 1] == '\n';
        advance(i - at_);
        return true;
    }

    void comment() {
        while (at_ < source_.size()) {
            if (closing("#}", true, true)) return;
            advance(1);
        }
        fail("a comment is not closed: '#}' is missing");
    }

    void raw_text() {
        const std::size_t start = at_;
        const int start_line = line_;
        // The text of a raw block starts where its tag ended.
        line_starting_ = source_[at_ - 1] == '\n';
        for (; at_ < source_.size(); advance(1)) {
            if (!looking_at("{%")) continue;
            std::size_t i = at_ + 2;
            const char sign = i < source_.size() && (source_[i] == '-' || source_[i] == '+') ? source_[i] : '\0';
            if (sign) ++i;
            i += spaces_from(i);
            if (source_.compare(i, 6, "endraw") != 0) continue;
            i += 6;
            i += spaces_from(i);
            const std::size_t tag = at_;
            const int tag_line = line_;
            const bool was_starting = line_starting_;
            advance(i - at_);
            if (closing("%}", true, true)) {
                const bool now_starting = line_starting_;
                line_starting_ = was_starting;
                const std::string_view text = std::string_view(source_).substr(start, tag - start);
                const std::string_view kept = stripped(text, sign, false);
                if (!kept.empty()) lexemes_.push_back({Kind::data, std::string(kept), start_line});
                line_starting_ = now_starting;
                return;
            }
            at_ = tag;
            line_ = tag_line;
        }
        fail("a raw block is not closed: '{% endraw %}' is missing");
    }

    void tag_body(Kind end, std::string_view mark, bool is_block) {
        std::string open;  // the brackets to be closed
        while (true) {
            skip_spaces();
            if (at_ >= source_.size()) fail(fmt::format("a tag is not closed: '{}' is missing", mark));
            // Jinja looks for the tag's end before anything else, but not inside brackets.
            const int line = line_;
            if (open.empty() && closing(mark, is_block, is_block)) {
                lexemes_.push_back({end, "", line});
                return;
            }
            expression_lexeme(open);
        }
    }

    void expression_lexeme(std::string& open) {
        const char c = peek();
        if (is_digit(c)) return number();
        if (c == '\'' || c == '"') return string(c);
        if (unicode::is_identifier_start(unicode::at(source_, at_).value)) return name();
        symbol(open);
    }

    void name() {
        std::size_t end = at_;
        while (end < source_.size()) {
            const unicode::CodePoint c = unicode::at(source_, end);
            if (!unicode::is_identifier_part(c.value)) break;
            end += c.length;
        }
        add(Kind::name, source_.substr(at_, end - at_));
        advance(end - at_);
    }

    // Digits that may have single underscores between them, from `offset`; the offset behind them.
    template <class IsDigit>
    std::size_t digits_from(std::size_t offset, IsDigit is) const {
        while (offset < source_.size() && is(source_[offset])) {
            ++offset;
            if (offset + 1 < source_.size() && source_[offset] == '_' && is(source_[offset + 1])) ++offset;
        }
        return offset;
    }

    void number() {
        const auto is_hex = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); };
        const char base = static_cast<char>(peek(1) | 0x20);
        if (peek() == '0' && (base == 'x' || base == 'o' || base == 'b')) {
            const std::size_t start = at_ + (peek(2) == '_' ? 3 : 2);
            const std::size_t end = digits_from(start, is_hex);
            if (end > start) return number_lexeme(Kind::integer, end);
        }
        std::size_t end = digits_from(at_, is_digit);
        Kind kind = Kind::integer;
        // "1.2" is a float, but not in "x.1.2", where these are two steps of a path.
        const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
        if (!after_dot && end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
            end = digits_from(end + 1, is_digit);
            kind = Kind::floating;
        }
        if (!after_dot && end < source_.size() && (source_[end] | 0x20) == 'e') {
            std::size_t digits = end + 1;
            if (digits < source_.size() && (source_[digits] == '+' || source_[digits] == '-')) ++digits;
            if (digits < source_.size() && is_digit(source_[digits])) {
                end = digits_from(digits, is_digit);
                kind = Kind::floating;
            }
        }
        number_lexeme(kind, end);
    }

    void number_lexeme(Kind kind, std::size_t end) {
        std::string digits = source_.substr(at_, end - at_);
        std::erase(digits, '_');
        add(kind, std::move(digits));
        advance(end - at_);
    }

    void string(char quote) {
        std::size_t end = at_ + 1;
        while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
        if (end >= source_.size()) fail(fmt::format("a string is not closed: {} is missing", quote));
        const std::string_view body = std::string_view(source_).substr(at_ + 1, end - at_ - 1);
        try {
            add(Kind::string, unescape(body));
        } catch (const Error& error) {
            fail(error.what());
        }
        advance(end + 1 - at_);
    }

    void symbol(std::string& open) {
        constexpr std::array two_byte_symbols = {"//", "**", "==", "!=", ">=", "<="};
        constexpr std::string_view one_byte_symbols = "+-/*%~[](){}><=.:|,;";
        for (const std::string_view two : two_byte_symbols) {
            if (!looking_at(two)) continue;
            add(Kind::symbol, std::string(two));
            advance(2);
            return;
        }
        const char c = peek();
        if (one_byte_symbols.find(c) == std::string_view::npos) {
            const std::size_t length = unicode::at(source_, at_).length;
            fail(fmt::format("unexpected character '{}' in a tag", source_.substr(at_, length)));
        }
        if (c == '(') open += ')';
        if (c == '[') open += ']';
        if (c == '{') open += '}';
        if (c == ')' || c == ']' || c == '}') {
            if (open.empty()) fail(fmt::format("unexpected '{}'", c));
            if (open.back() != c) fail(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
            open.pop_back();
        }
        add(Kind::symbol, std::string(1, c));
        advance(1);
    }

    std::string source_;
    std::size_t at_ = 0;
    int line_ = 1;
    bool line_starting_ = true;  // only line breaks and tags' ends that took one stand right before `at_`
    std::vector<Lexeme> lexemes_;
};

}  // namespace

std::vector<Lexeme> tokenize(std::string_view source) {
    if (source.size() > longest_template) {
        throw Error(
            fmt::format("a template of {} bytes is longer than the limit of {}", source.size(), longest_template));
    }
    if (!utf8::is_valid(source)) throw Error("the template is not valid UTF-8");
    return Lexer(normalize(source)).run();
}

std::string describe(const Lexeme& lexeme) {
    switch (lexeme.kind) {
        case Kind::data:
            return "template text";
        case Kind::variable_begin:
            return "'{{'";
        case Kind::variable_end:
            return "'}}'";
        case Kind::block_begin:
            return "'{%'";
        case Kind::block_end:
            return "'%}'";
        case Kind::string:
            return "a string";
        case Kind::end:
            return "the end of the template";
        case Kind::name:
        case Kind::integer:
        case Kind::floating:
        case Kind::symbol:
            break;
    }
    return fmt::format("'{}'", lexeme.text);
}

}  // namespace vigil::jinja
