// vigil doctor.
#include <doctest/doctest.h>
#include <string>

#include "tests/cli/child.h"
#include "tests/cli/output.h"

using namespace vigil::test;

TEST_CASE("the doctor says plainly whether CUDA can be used, and succeeds since the CPU always can") {
    const Result text = run({"doctor"});
    CHECK(text.exit_code == 0);
    CHECK(text.out.find("CPU: ") != std::string::npos);
    const Result result = run({"doctor", "--json"});
    CHECK(result.exit_code == 0);
    const Json json = Json::parse(result.out);
    CHECK_FALSE(json.at("cpu_isa").get<std::string>().empty());
    const bool usable = !json.at("usable_gpus").empty();
    CHECK(text.out.find(usable ? "CUDA can be used" : "CUDA can't be used") != std::string::npos);
}

TEST_CASE("whatever stops vigil comes with its mend") {
    const Json json = Json::parse(run({"doctor", "--json"}).out);
    std::size_t n_stops = 0;
    const auto look_at = [&](const Json& findings) {
        for (const Json& finding : findings) {
            CHECK_FALSE(finding.at("problem").get<std::string>().empty());
            CHECK_FALSE(finding.at("mend").get<std::string>().empty());
            n_stops += finding.at("stops").get<bool>();
        }
    };
    look_at(json.at("findings"));
    for (const Json& gpu : json.at("gpus")) look_at(gpu.at("findings"));
    if (json.at("usable_gpus").empty()) CHECK(n_stops > 0);
}
