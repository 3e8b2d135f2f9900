// Every construct by itself, as Python's jinja2 renders or refuses it (make the golden file with constructs.py).
#include <doctest/doctest.h>
#include <map>
#include <optional>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/template.h"
#include "tests/chat/clock.h"
#include "tests/chat/json_value.h"

using namespace vigil;
using namespace vigil::test;

namespace {

// Where vigil does something else on purpose, and what.
const std::map<std::string, std::string> different = {
    // Integers have 64 bits, and literals must be finite.
    {"{{ big * big }}", "error"},
    {"{{ big * 1000000 }}", "error"},
    {"{{ 1e400 if false else 0 }}", "error"},
    // Python's C functions take no named arguments; here they may have names.
    {"{{ mapping.get('z', default='d') }}", "d"},
    // Jinja compiles a target of one name and a comma to something that fails.
    {"{% for k, in [(1,)] %}{{ k }}{% endfor %}", "1"},
    // An index of several parts is refused while parsing.
    {"{{ numbers[0, 1] }}", "error"},
};

}  // namespace

TEST_CASE("every construct renders as jinja2 renders it") {
    const std::filesystem::path folder = std::filesystem::path(VIGIL_TEST_DATA) / "chat";
    const Json golden = Json::parse(read_text(folder / "golden/constructs.json"));
    const jinja::Dict variables = to_variables(golden["variables"]);
    CHECK(golden["cases"].size() > 900);
    for (const Json& one : golden["cases"]) {
        const std::string source = one["template"];
        std::optional<std::string> expected, text;
        if (!one["expected"].is_null()) expected = one["expected"].get<std::string>();
        if (const auto place = different.find(source); place != different.end()) {
            expected = place->second == "error" ? std::nullopt : std::optional(place->second);
        }
        std::string what;
        try {
            text = jinja::Template(source).render(variables, fixed_time()).bytes();
        } catch (const jinja::Error& error) {
            what = error.what();
            CHECK(error.line() >= 0);
        }
        INFO("template: ", source);
        INFO("error: ", what);
        CHECK(text.value_or("(an error)") == expected.value_or("(an error)"));
    }
}
