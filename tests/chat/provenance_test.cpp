// Text from messages stays data through everything that a template can do with it.
#include <doctest/doctest.h>
#include <string>

#include "host/chat/jinja/template.h"
#include "tests/chat/clock.h"

using namespace vigil;
using namespace vigil::test;

namespace {

jinja::Text render(const std::string& source) {
    jinja::Dict variables;
    variables.put("d", jinja::make_text("<Data é 1>", true));
    variables.put("lines", jinja::make_text("one\ntwo", true));
    variables.put("list", jinja::List({jinja::make_text("<a>", true), jinja::make_text("<b>", true)}));
    return jinja::Template(source).render(variables, fixed_time());
}

// The text with every stretch of data between ‹ and ›.
std::string marked(const std::string& source) {
    const jinja::Text text = render(source);
    std::string out;
    std::size_t begin = 0;
    for (const jinja::Text::Run& run : text.runs()) {
        if (run.is_data) out += "‹";
        out += text.bytes().substr(begin, run.end - begin);
        if (run.is_data) out += "›";
        begin = run.end;
    }
    return out;
}

}  // namespace

TEST_CASE("template text and data keep apart through concatenation and slicing") {
    CHECK(marked("<s>{{ d }}</s>") == "<s>‹<Data é 1>›</s>");
    CHECK(marked("{{ '<s>' + d + '</s>' }}") == "<s>‹<Data é 1>›</s>");
    CHECK(marked("{{ '<s>' ~ d ~ 7 }}") == "<s>‹<Data é 1>›7");
    CHECK(marked("{{ ('<s>' + d)[1:5] }}") == "s>‹<D›");
    CHECK(marked("{{ ('<s>' + d)[::-1] }}") == "‹>1 é ataD<›>s<");
    CHECK(marked("{{ ('a' + d)[1] }}") == "‹<›");
    CHECK(marked("{{ (d + 'x') * 2 }}") == "‹<Data é 1>›x‹<Data é 1>›x");
    CHECK(marked("{{ [d, 'x']|join('|') }}") == "‹<Data é 1>›|x");
    CHECK(marked("{{ '|'.join(list) }}") == "‹<a>›|‹<b>›");
    CHECK(marked("{% set x %}<s>{{ d }}{% endset %}{{ x }}") == "<s>‹<Data é 1>›");
    CHECK(marked("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(d) }}") == "[‹<Data é 1>›]");
    CHECK(marked("{% for c in d[:2] %}{{ c }}-{% endfor %}") == "‹<›-‹D›-");
}

TEST_CASE("string methods and filters keep the provenance of every byte") {
    CHECK(marked("{{ (' ' + d + ' ')|trim }}") == "‹<Data é 1>›");
    CHECK(marked("{{ d|upper }}{{ 'x'|upper }}") == "‹<DATA É 1>›X");
    CHECK(marked("{{ ('ab' + d)|title }}") == "Ab‹<Data É 1>›");
    CHECK(marked("{{ d|capitalize }}") == "‹<data é 1>›");
    CHECK(marked("{{ d.replace('Data', '[X]') }}") == "‹<›[X]‹ é 1>›");
    CHECK(marked("{{ '[X]'.replace('X', d) }}") == "[‹<Data é 1>›]");
    CHECK(marked("{{ d.split(' ')[0] ~ '|' ~ d.split(' ')[-1] }}") == "‹<Data›|‹1>›");
    CHECK(marked("{{ d.partition(' ')[2] }}") == "‹é 1>›");
    CHECK(marked("{{ lines|indent(2) }}") == "‹one›\n  ‹two›");
    CHECK(marked("{{ 'a'.center(3) }}{{ d.ljust(12) }}") == " a ‹<Data é 1>›  ");
    CHECK(marked("{{ '%s=%5s' % (d, 'x') }}") == "‹<Data é 1>›=    x");
    CHECK(marked("{{ '{}={:>3}'.format(d, 'x') }}") == "‹<Data é 1>›=  x");
    CHECK(marked("{{ d.format() }}{{ d % () }}") == "‹<Data é 1><Data é 1>›");
    CHECK(marked("{{ d|string ~ (d|first) ~ (d|last) }}") == "‹<Data é 1><>›");
    CHECK(marked("{{ list|map('upper')|join(',') }}") == "‹<A>›,‹<B>›");
    CHECK(marked("{{ list|sort(reverse=true)|first }}") == "‹<b>›");
    CHECK(marked("{{ d|truncate(5, true, leeway=0) }}") == "‹<D›...");
    CHECK(marked("{{ nothing|default(d) }}") == "‹<Data é 1>›");
}

TEST_CASE("what is printed around data counts as data") {
    CHECK(marked("{{ d|tojson }}") == "‹\"<Data é 1>\"›");
    CHECK(marked("{{ 'x'|tojson }}") == "\"x\"");
    CHECK(marked("{{ list }}") == "‹['<a>', '<b>']›");
    // "[" and "]" could close a marker such as [INST]: lists never print as the template's text.
    CHECK(marked("{{ [1] }}") == "‹[›1‹]›");
    CHECK(marked("{{ {'a': d}|tojson }}") == "‹{›\"a\"‹: \"<Data é 1>\"}›");
}

TEST_CASE("numbers made from data are digits, not text") {
    CHECK(marked("{{ '12'|int }}{{ d|length }}") == "1210");
}
