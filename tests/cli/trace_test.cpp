// vigil run --trace: the file, and that asking for it changes nothing else.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"

using namespace vigil::test;

namespace {

std::vector<std::string> run_line(const std::vector<std::string>& more) {
    std::vector<std::string> line = {"run", tiny_model(), "in the end", "--json", "--ignore-eos",
                                     "-n",  "12",         "--seed",     "1"};
    line.insert(line.end(), more.begin(), more.end());
    return line;
}

}  // namespace

TEST_CASE("a trace leaves the tokens as they are, and is a file with a process for the run") {
    const auto file = new_path("trace.json");
    const auto plain = read_transcript(run_on_device(run_line({})).out).ids();
    for (const char* dispatch : {"persistent", "graph", "launch"}) {
        CAPTURE(dispatch);
        const Result traced =
            run_on_device(run_line({"--dispatch", dispatch, "--trace", file, "--trace-tokens", "3:2"}));
        CHECK(read_transcript(traced.out).ids() == plain);
        const Json json = Json::parse(read_file(file));
        REQUIRE(!json.at("traceEvents").empty());
        const std::string name = json.at("traceEvents")[0].at("args").at("name");
        CHECK(name.ends_with(std::string(", ") + dispatch));
        // Where phases are recorded at all, they are of these tokens.
        for (const Json& event : json.at("traceEvents"))
            if (event.at("ph") == "X" && event.at("cat") == "phase") {
                CHECK(event.at("args").at("token").get<int>() >= 3);
                CHECK(event.at("args").at("token").get<int>() < 5);
            }
    }
}

TEST_CASE("a run that fails leaves no trace file behind, and an old one as it was") {
    const auto file = write_file("trace.json", "as it was");
    run_on_device({"run", "/nowhere/none.gguf", "hi", "--trace", file}, "/dev/null", 1);
    CHECK(read_file(file) == "as it was");
}
