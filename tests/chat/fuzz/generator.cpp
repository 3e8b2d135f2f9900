#include "tests/chat/fuzz/generator.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace vigil::test {
namespace {

using Words = std::vector<std::string>;

const Words names = {"messages",  "tools",  "text",    "n",         "numbers",       "x",     "y",
                     "ns",        "m",      "loop",    "bos_token", "message",       "range", "dict",
                     "namespace", "caller", "varargs", "kwargs",    "undefined_name"};
const Words literals = {"0",
                        "1",
                        "-1",
                        "2",
                        "7",
                        "99999",
                        "100000",
                        "9223372036854775807",
                        "-9223372036854775807",
                        "1.5",
                        "1e308",
                        "0.1",
                        "''",
                        "'a'",
                        "'ab,c'",
                        "' x\\n'",
                        "\"\\u00e9\"",
                        "'%s%5d'",
                        "'{:>9}{}'",
                        "'<|im_end|>'",
                        "[]",
                        "[1, 'a', none]",
                        "{}",
                        "{'a': 1, 'b': [2]}",
                        "()",
                        "(1,)",
                        "true",
                        "false",
                        "none",
                        "'user'",
                        "'role'",
                        "'content'"};
const Words filters = {"abs",      "attr",   "batch",      "capitalize", "center",  "count",   "d",      "default",
                       "dictsort", "e",      "first",      "float",      "format",  "groupby", "indent", "int",
                       "items",    "join",   "last",       "length",     "list",    "lower",   "map",    "max",
                       "min",      "reject", "rejectattr", "replace",    "reverse", "round",   "select", "selectattr",
                       "slice",    "sort",   "string",     "sum",        "title",   "tojson",  "trim",   "truncate",
                       "unique",   "upper",  "wordcount",  "nosuch"};
const Words tests = {"defined", "undefined", "none",  "string", "mapping",  "iterable",    "sequence", "number",
                     "integer", "boolean",   "true",  "odd",    "even",     "divisibleby", "eq",       "gt",
                     "in",      "lower",     "upper", "sameas", "callable", "filter",      "nosuch"};
const Words attributes = {
    "role",     "content", "function", "name",   "x",         "items",      "keys",      "values",       "get",
    "strip",    "split",   "rsplit",   "lstrip", "replace",   "startswith", "endswith",  "upper",        "title",
    "format",   "join",    "find",     "rfind",  "count",     "index",      "partition", "splitlines",   "zfill",
    "center",   "ljust",   "append",   "pop",    "__class__", "copy",       "first",     "last",         "previtem",
    "nextitem", "cycle",   "changed",  "length", "a",         "b",          "swapcase",  "removeprefix", "isdigit"};
const Words operators = {" + ", " - ",  " * ", " / ",  " // ",  " % ",  " ** ", " ~ ",      " == ", " != ",
                         " < ", " <= ", " > ", " >= ", " and ", " or ", " in ", " not in ", ", "};
const Words pieces = {"{{",
                      "}}",
                      "{%",
                      "%}",
                      "{#",
                      "#}",
                      "{%-",
                      "-%}",
                      "{{-",
                      "-}}",
                      "{%+",
                      "+%}",
                      "{% raw %}",
                      "{% endraw %}",
                      "{% if x %}",
                      "{% endif %}",
                      "{% else %}",
                      "{% for x in messages %}",
                      "{% endfor %}",
                      "{% set x = ",
                      "{% endset %}",
                      "{% macro m(a) %}",
                      "{% endmacro %}",
                      "(",
                      ")",
                      "[",
                      "]",
                      "{",
                      "}",
                      "'",
                      "\"",
                      "\\",
                      "|",
                      "is ",
                      "\n",
                      "  ",
                      "\xC3\xA9",
                      "\xF0\x9F\x99\x82",
                      "\xFF",
                      ":",
                      ".",
                      "**",
                      "*",
                      " not "};

// In place of a chain of "+", in which g++ 12 sees overlapping copies.
std::string together(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) text += part;
    return text;
}

}  // namespace

TemplateGenerator::TemplateGenerator(std::uint64_t seed, std::vector<std::string> corpus)
    : random_(seed), corpus_(std::move(corpus)) {}

std::string TemplateGenerator::next() {
    std::string text = corpus_.empty() || below(2) == 0 ? body(1 + static_cast<int>(below(5))) : mutated();
    if (below(8) == 0) mutate(text);
    return text;
}

std::string TemplateGenerator::arguments(int depth) {
    std::string text = "(";
    for (std::size_t i = below(4); i > 0; --i) {
        if (below(6) == 0) text += any({"attribute=", "default=", "indent=", "reverse=", "width=", "a="});
        text += expression(depth - 1);
        if (i > 1) text += ", ";
    }
    text += ")";
    return text;
}

std::string TemplateGenerator::expression(int depth) {
    if (depth <= 0) return below(2) == 0 ? any(names) : any(literals);
    const auto inner = [&] { return expression(depth - 1); };
    const auto maybe = [&](std::string text) { return below(2) == 0 ? std::move(text) : std::string(); };
    switch (below(14)) {
        case 0:
        case 1:
            return together({inner(), any(operators), inner()});
        case 2:
            return together({"(", inner(), ")"});
        case 3:
        case 4:
            return together({inner(), "|", any(filters), maybe(arguments(depth))});
        case 5:
            return together({inner(), " is ", any(tests), maybe(arguments(depth))});
        case 6:
        case 7:
            return together({inner(), ".", any(attributes), maybe(arguments(depth))});
        case 8:
            return together({inner(), "[", inner(), "]"});
        case 9:
            return together({inner(), "[", maybe(expression(0)), ":", maybe(expression(0)),
                             maybe(together({":", expression(0)})), "]"});
        case 10:
            return together({inner(), " if ", inner(), " else ", inner()});
        case 11:
            return together({"[", inner(), ", ", inner(), "]"});
        case 12:
            return together({"{", any(literals), ": ", inner(), "}"});
        default:
            return together({any(names), arguments(depth)});
    }
}

std::string TemplateGenerator::statement(int depth) {
    const std::string inner = depth > 0 ? body(depth - 1) : "t";
    const std::string open = below(3) == 0 ? "{%- " : "{% ", close = below(3) == 0 ? " -%}" : " %}";
    const auto maybe = [&](std::string text) { return below(4) == 0 ? std::move(text) : std::string(); };
    switch (below(11)) {
        case 0:
            return together({open, "if ", expression(2), close, inner, "{% else %}", body(depth - 1), "{% endif %}"});
        case 1:
        case 2:
            return together({open, "for x", maybe(", y"), " in ", expression(2),
                             maybe(together({" if ", expression(1)})), maybe(" recursive"), close, inner,
                             maybe("{% break %}"), "{% endfor %}"});
        case 3:
        case 4:
            return together(
                {open, "set ", any({"x", "y", "ns.x", "ns.y", "messages", "x, y"}), " = ", expression(3), close});
        case 5:
            return together({open, "set ns = namespace(x=", expression(1), ")", close});
        case 6:
            return together({open, "macro m(x, y=", expression(1), ")", close, inner, "{% endmacro %}"});
        case 7:
            return together({open, "set x", maybe(together({" | ", any(filters)})), close, inner, "{% endset %}"});
        case 8:
            return together({open, "filter ", any(filters), close, inner, "{% endfilter %}"});
        case 9:
            return together({open, "call m", arguments(1), close, inner, "{% endcall %}"});
        default:
            return together({"{{ ", expression(4), " }}"});
    }
}

std::string TemplateGenerator::body(int depth) {
    if (depth < 0) return "t";
    std::string text;
    for (std::size_t i = 1 + below(4); i > 0; --i) {
        text += below(4) == 0 ? any({"text ", "\n", "  ", "<|im_start|>"}) : statement(depth - 1);
    }
    return text;
}

std::string TemplateGenerator::mutated() {
    std::string text = any(corpus_);
    for (std::size_t i = 1 + below(6); i > 0; --i) mutate(text);
    return text;
}

void TemplateGenerator::mutate(std::string& text) {
    constexpr std::size_t longest = 20'000;
    const std::size_t at = below(text.size() + 1);
    const std::size_t count = std::min(below(40), text.size() - at);
    switch (below(7)) {
        case 0:
            text.erase(at, count);
            break;
        case 1:
            text.insert(at, text.substr(at, count));
            break;
        case 2:
            text.insert(at, any(pieces));
            break;
        case 3:
            text.insert(at, expression(2));
            break;
        case 4:
            text.insert(at, statement(1));
            break;
        case 5:
            if (at < text.size()) text[at] = static_cast<char>(random_());
            break;
        default:
            if (!corpus_.empty()) {
                const std::string& other = any(corpus_);
                const std::size_t from = below(other.size() + 1);
                text = text.substr(0, at) + other.substr(from, 400);
            }
            break;
    }
    if (text.size() > longest) text.resize(longest);
}

}  // namespace vigil::test
