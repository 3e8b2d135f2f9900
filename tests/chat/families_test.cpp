// 200 conversations under the templates of 21 model families, byte for byte as Python's jinja2 renders them.
#include <cstdint>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fstream>
#include <map>
#include <optional>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/template.h"
#include "tests/chat/clock.h"
#include "tests/chat/json_value.h"

using namespace vigil;
using namespace vigil::test;

namespace {

const std::filesystem::path folder = std::filesystem::path(VIGIL_TEST_DATA) / "chat";

std::string fnv(std::string_view bytes) {
    std::uint64_t value = 0xCBF29CE484222325;
    for (const char byte : bytes) value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
    return fmt::format("{:016x}", value);
}

std::optional<std::string> render(const jinja::Template& parsed, const jinja::Dict& variables) {
    try {
        return parsed.render(variables, fixed_time()).bytes();
    } catch (const jinja::Error&) {
        return std::nullopt;
    }
}

}  // namespace

TEST_CASE("every family renders every conversation as jinja2 does") {
    const Json json = Json::parse(read_text(folder / "golden/conversations.json"));
    std::vector<jinja::Dict> conversations;
    for (const Json& one : json) conversations.push_back(to_variables(one));
    REQUIRE(conversations.size() == 200);

    std::map<std::string, jinja::Template> templates;
    std::ifstream golden(folder / "golden/families.txt");
    std::string name, hash;
    std::size_t number = 0;
    long length = 0;
    std::size_t compared = 0, refused = 0;
    while (golden >> name >> number >> length >> hash) {
        auto place = templates.find(name);
        if (place == templates.end()) {
            const std::string source = read_text(folder / "templates" / (name + ".jinja"));
            place = templates.emplace(name, jinja::Template(source)).first;
        }
        const std::optional<std::string> text = render(place->second, conversations.at(number));
        INFO("make_family_golden.py ", name, " ", number, " prints what is expected; this is what came:\n",
             text.value_or("(an error)"));
        ++compared;
        refused += length < 0;
        REQUIRE(text.has_value() == (length >= 0));
        if (!text) continue;
        CHECK(static_cast<long>(text->size()) == length);
        REQUIRE(fnv(*text) == hash);
    }
    CHECK(templates.size() >= 12);
    CHECK(compared == templates.size() * conversations.size());
    CHECK(refused < compared / 4);
}
