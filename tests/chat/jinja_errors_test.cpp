// What cannot be done is said with construct and line.
#include <doctest/doctest.h>
#include <string>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/template.h"
#include "tests/chat/clock.h"

using namespace vigil;
using namespace vigil::test;

namespace {

// "LINE: message" of the error that `source` ends in.
std::string error_of(const std::string& source) {
    try {
        jinja::Template(source).render(jinja::Dict(), fixed_time());
    } catch (const jinja::Error& error) {
        return std::to_string(error.line()) + ": " + error.what();
    }
    return "no error";
}

}  // namespace

TEST_CASE("syntax errors name the line and what was expected") {
    CHECK(error_of("a\nb\n{{ 1 +") == "3: a tag is not closed: '}}' is missing");
    CHECK(error_of("a\n{% if x %}\nb") == "3: unexpected end of the template; '{% endif %}' is missing");
    CHECK(error_of("\n\n{{ (1 }}") == "3: unexpected '}', expected ')'");
    CHECK(error_of("{{ 1 2 }}") == "1: expected '}}', got '2'");
    CHECK(error_of("{% set x 1 %}") == "1: expected '%}', got '1'");
    CHECK(error_of("{{ 'a }}") == "1: a string is not closed: ' is missing");
    CHECK(error_of("{# x") == "1: a comment is not closed: '#}' is missing");
    CHECK(error_of("{{ a ? b }}") == "1: unexpected character '?' in a tag");
    CHECK(error_of("{{ a] }}") == "1: unexpected ']'");
    CHECK(error_of("{% for x in y %}{% endif %}") == "1: the tag '{% endif %}' is not supported");
}

TEST_CASE("constructs that are not supported are named") {
    CHECK(error_of("\n{% include 'x' %}") == "2: the tag '{% include %}' is not supported");
    CHECK(error_of("{% block x %}{% endblock %}") == "1: the tag '{% block %}' is not supported");
    CHECK(error_of("{% do x %}") == "1: the tag '{% do %}' is not supported");
    CHECK(error_of("\n\n{{ 'x'|urlize }}") == "3: the filter 'urlize' is not supported");
    CHECK(error_of("{{ 'x' is blue }}") == "1: the test 'blue' is not supported");
    CHECK(error_of("{{ 'x'.encode() }}") == "1: 'str' object has no attribute 'encode'");
    CHECK(error_of("{{ cycler(1) }}") == "1: 'cycler' is undefined");
    CHECK(error_of("{{ '\\N{BULLET}' }}") == "1: the string escape \\N{...} is not supported");
    CHECK(error_of("{{ [].append(1) }}") == "1: access to attribute 'append' of a 'list' is unsafe");
}

TEST_CASE("errors of rendering name the line of the expression") {
    CHECK(error_of("a\n{{ 1 / 0 }}") == "2: division by zero");
    CHECK(error_of("a\n\n{{ nothing.x }}") == "3: 'nothing' is undefined");
    CHECK(error_of("{% set x = {} %}\n{{ x.a.b }}") == "2: 'dict' object has no attribute 'a'");
    CHECK(error_of("{{ 'a' + 1 }}") == "1: operator '+' does not work on 'str' and 'int'");
    CHECK(error_of("{{ 1 < 'a' }}") == "1: operator '<' does not work on 'int' and 'str'");
    CHECK(error_of("{% if 1 %}\n{{ raise_exception('Roles must alternate') }}{% endif %}") ==
          "2: the template refuses: Roles must alternate");
    CHECK(error_of("{% macro m(a) %}{{ a }}{% endmacro %}\n{{ m(b=1) }}") == "2: macro 'm' has no parameter 'b'");
    CHECK(error_of("{% for a, b in [(1, 2, 3)] %}{% endfor %}") == "1: 2 names cannot be set from 3 values");
    CHECK(error_of("{{ 'x'.replace('a') }}") == "1: replace needs its parameter 'new'");
    CHECK(error_of("{{ 'x'|tojson(colour=1) }}") == "1: tojson has no parameter 'colour'");
    CHECK(error_of("{{ range(1, 2, 0) }}") == "1: range needs a step other than zero");
    CHECK(error_of("{{ strftime_now('%Q') }}") == "1: strftime_now does not support the format '%Q'");
    CHECK(error_of("{{ {[]: 1} }}") == "1: unhashable type: 'list'");
}
