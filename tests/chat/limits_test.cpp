// Templates that would run for ever, nest without end or fill the memory end with an error, and soon.
#include <ctime>
#include <doctest/doctest.h>
#include <string>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/lexer.h"
#include "host/chat/jinja/template.h"
#include "tests/chat/clock.h"

using namespace vigil;
using namespace vigil::test;

namespace {

std::string repeated(std::string_view text, std::size_t times) {
    std::string out;
    for (std::size_t i = 0; i < times; ++i) out += text;
    return out;
}

// The error's text; "" if there is none.
std::string error_of(const std::string& source, const jinja::Limits& limits = {}) {
    jinja::Dict variables;
    variables.put("text", jinja::make_text(std::string(1 << 20, 'a'), true));
    const std::clock_t start = std::clock();
    std::string what;
    try {
        jinja::Template(source).render(variables, fixed_time(), limits);
    } catch (const jinja::Error& error) {
        what = error.what();
        CHECK(error.line() >= 1);
    }
    // Processor time, generous for the sanitizers; what is not stopped would take hours.
    CHECK((std::clock() - start) / CLOCKS_PER_SEC < 60);
    return what;
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("loops are stopped after a number of steps") {
    CHECK(contains(error_of("{% for a in range(1000000000) %}{% endfor %}"), "range is longer than"));
    const std::string nested = repeated("{% for x in range(100000) %}", 4) + repeated("{% endfor %}", 4);
    CHECK(contains(error_of(nested), "more than"));
    CHECK(contains(error_of("{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}"),
                   "the template"));
    CHECK(error_of("{% for a in range(10000) %}{{ a }}{% endfor %}").empty());
}

TEST_CASE("recursion is stopped") {
    CHECK(contains(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "recurses deeper"));
    CHECK(
        contains(error_of("{% macro f(x) %}{{ g(x) }}{% endmacro %}{% macro g(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"),
                 "recurses deeper"));
    CHECK(contains(error_of("{% macro f(x=f()) %}{% endmacro %}{{ f() }}"), "recurses deeper"));
    CHECK(contains(error_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"), "recurses deeper"));
    CHECK(contains(error_of("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}"), "recurses deeper"));
    CHECK(contains(
        error_of("{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"),
        "steps"));
    CHECK(error_of("{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}").empty());
}

TEST_CASE("deep nesting in the text is refused before it reaches the stack") {
    for (const std::size_t depth : {std::size_t{1000}, std::size_t{50000}}) {
        CHECK(contains(error_of("{{ " + repeated("(", depth) + "1" + repeated(")", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ " + repeated("[", depth) + repeated("]", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ " + repeated("{1:", depth) + "1" + repeated("}", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ " + repeated("not ", depth) + "1 }}"), "nests deeper"));
        CHECK(contains(error_of("{{ " + repeated("-", depth) + "1 }}"), "nests deeper"));
        CHECK(contains(error_of("{{ 1" + repeated("+1", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ 1" + repeated("|abs", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ a" + repeated(".a", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ a" + repeated("[0]", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ a" + repeated("()", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ 1" + repeated(" if 1", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of("{{ 1" + repeated(" if 1 else 1", depth) + " }}"), "nests deeper"));
        CHECK(contains(error_of(repeated("{% if 1 %}", depth)), "nests deeper"));
        CHECK(contains(error_of("{% set " + repeated("(", depth) + "a" + repeated(")", depth) + " = 1 %}"),
                       "nests deeper"));
        CHECK(contains(error_of("{% for " + repeated("(", depth) + "a" + repeated(")", depth) + " in b %}"),
                       "nests deeper"));
    }
    // Wide is not deep.
    CHECK(error_of("{{ 'a'" + repeated(" ~ 'a'", 5000) + " }}").empty());
    CHECK(error_of("{{ 1" + repeated(" and 1", 5000) + " }}").empty());
    CHECK(error_of("{% if 0 %}" + repeated("{% elif 0 %}", 5000) + "{% endif %}").empty());
    CHECK(error_of("{{ [" + repeated("1,", 5000) + "] }}").empty());
}

TEST_CASE("values that nest without end are refused") {
    const auto loop = [](std::string_view body) {
        return "{% set ns = namespace(x=1, m=1) %}{% for i in range(10000) %}" + std::string(body) + "{% endfor %}";
    };
    CHECK(contains(error_of(loop("{% set ns.x = [ns.x] %}")), "nests deeper"));
    CHECK(contains(error_of(loop("{% set ns.x = (ns.x,) %}")), "nests deeper"));
    CHECK(contains(error_of(loop("{% set ns.x = {'a': ns.x} %}")), "nests deeper"));
    CHECK(contains(error_of(loop("{% set ns.x = [[ns.x]|select] %}")), "nests deeper"));
    CHECK(contains(error_of(loop("{% for y in [ns.x] %}{% set ns.x = [loop] %}{% endfor %}")), "nests deeper"));
    CHECK(contains(error_of("{% set ns = namespace(x=[]) %}{% for i in range(10000) %}{% set ns.x = [ns.x.index] %}"
                            "{% endfor %}"),
                   "nests deeper"));
    // Chains through namespaces and macros are freed one by one.
    CHECK(error_of(loop("{% set n = namespace(x=ns.x) %}{% set ns.x = n %}")).empty());
    CHECK(error_of(loop("{% set f = ns.m %}{% macro g() %}{{ f }}{% endmacro %}{% set ns.m = g %}")).empty());
    CHECK(error_of(loop("{% set _ = loop.changed(loop) %}")).empty());
}

TEST_CASE("blown up strings and lists are stopped before they are made") {
    CHECK(contains(error_of("{{ 'a' * 1000000000000 }}"), "bytes of values"));
    CHECK(contains(error_of("{{ 'ab' * 9223372036854775807 }}"), "bytes of values"));
    CHECK(contains(error_of("{{ ([1] * 1000000000000)|length }}"), "bytes of values"));
    CHECK(contains(
        error_of("{% set ns = namespace(x='ab') %}{% for i in range(100) %}{% set ns.x = ns.x * 2 %}{% endfor %}"),
        "bytes of values"));
    CHECK(contains(
        error_of("{% set ns = namespace(x='ab') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
        "than"));
    CHECK(contains(
        error_of("{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"),
        "bytes of values"));
    // Shared parts make a small value print as a huge one.
    const std::string doubled =
        "{% set ns = namespace(x=('a',)) %}{% for i in range(90) %}{% set ns.x = (ns.x, ns.x) %}"
        "{% endfor %}";
    CHECK(contains(error_of(doubled + "{{ ns.x }}"), "than"));
    CHECK(contains(error_of(doubled + "{{ ns.x|tojson }}"), "than"));
    CHECK(contains(error_of(doubled + "{{ {ns.x: 1} }}"), "too large to be a key"));
    CHECK(contains(error_of(doubled + "{% set y = ns.x %}" + doubled + "{{ y == ns.x }}"), "steps"));
    CHECK(contains(error_of("{{ 'a'.center(1000000000000) }}"), "bytes of values"));
    CHECK(contains(error_of("{{ '7'.zfill(1000000000000) }}"), "bytes of values"));
    CHECK(contains(error_of("{{ 'a\nb'|indent(1000000000000) }}"), "bytes of values"));
    CHECK(contains(error_of("{{ {'a': 1}|tojson(indent=1000000000000) }}"), "bytes of values"));
    CHECK(contains(error_of("{{ [1]|batch(1000000000000, 0)|list }}"), "bytes of values"));
    CHECK(contains(error_of("{{ [1]|slice(1000000000000)|list }}"), "bytes of values"));
    CHECK(contains(error_of("{{ '%999999999d' % 1 }}"), "not supported"));
    CHECK(contains(error_of("{{ '{:999999999}'.format(1) }}"), "not supported"));
    CHECK(contains(error_of("{{ 2 ** 1000000 }}"), "64 bits"));
    CHECK(contains(error_of("{{ text|replace('', text) }}"), "bytes of values"));
    CHECK(contains(error_of("{% for i in range(100000) %}{{ text }}{% endfor %}"), "than"));
}

TEST_CASE("the rendered text has a limit of its own") {
    const jinja::Limits limits{.output = 1000};
    CHECK(contains(error_of("{{ 'a' * 1001 }}", limits), "longer than 1000 bytes"));
    CHECK(error_of("{{ 'a' * 1000 }}", limits).empty());
    CHECK(contains(error_of("{% for i in range(101) %}0123456789{% endfor %}", limits), "longer than 1000 bytes"));
}

TEST_CASE("searching a long text costs no more than its length") {
    // Each would take minutes if every place were compared with the whole pattern.
    CHECK(error_of("{% set p = text[:500000] ~ 'b' %}{{ p in text }}{{ text.find(p) }}{{ text.count(p) }}"
                   "{{ text.split(p)|length }}{{ text.replace(p, '')|length }}")
              .empty());
    CHECK(contains(error_of("{% for i in range(99999) %}{{ text[i] }}{% endfor %}"), "steps"));
    CHECK(contains(error_of("{% for i in range(99999) %}{{ text.strip('b')|length }}{% endfor %}"), "than"));
    CHECK(contains(error_of("{% for i in range(99999) %}{{ {text: 1}[text] }}{% endfor %}"), "than"));
    CHECK(contains(error_of("{% set p = text[:500000] %}{{ ('b' ~ text).rfind('c' ~ p) }}"
                            "{{ text.rsplit('b' ~ p)|length }}"),
                   "steps"));
}

TEST_CASE("a template's own text has a limit") {
    CHECK(error_of(std::string(jinja::longest_template, 'x')).empty());
    CHECK_THROWS_AS(jinja::Template(std::string(jinja::longest_template + 1, 'x')), jinja::Error);
    CHECK_THROWS_AS(jinja::Template("\xFF"), jinja::Error);
}
