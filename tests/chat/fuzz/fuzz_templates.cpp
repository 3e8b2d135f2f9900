// Renders generated and mutated templates for a number of seconds:  chat_fuzz_templates SECONDS [SEED]
//
// The corpus is tests/chat's own templates. The last template tried stands in chat_fuzz_last.jinja of the current
// folder if the program dies, and every finding prints its template. With clang, tests/chat/fuzz/coverage.cpp does the
// same under libFuzzer.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/chat/fuzz/generator.h"
#include "tests/chat/fuzz/target.h"
#include "tests/chat/json_value.h"

using namespace vigil::test;

namespace {

std::vector<std::string> load_corpus() {
    const std::filesystem::path folder = std::filesystem::path(VIGIL_TEST_DATA) / "chat";
    std::vector<std::string> corpus;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "templates")) {
        corpus.push_back(read_text(entry.path()));
    }
    std::ranges::sort(corpus);  // a folder has no order of its own
    const Json golden = Json::parse(read_text(folder / "golden/constructs.json"));
    for (const Json& one : golden["cases"]) corpus.push_back(one["template"]);
    return corpus;
}

}  // namespace

int main(int count, char** arguments) {
    using Clock = std::chrono::steady_clock;
    const double seconds = count > 1 ? std::strtod(arguments[1], nullptr) : 10;
    const std::uint64_t seed = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 1;
    TemplateGenerator generator(seed, load_corpus());
    FuzzCounts counts;
    double slowest = 0;
    const auto start = Clock::now();
    while (std::chrono::duration<double>(Clock::now() - start).count() < seconds) {
        const std::string source = generator.next();
        if (seconds > 60) std::ofstream("chat_fuzz_last.jinja", std::ios::binary) << source;
        const auto before = Clock::now();
        check_template(source, counts);
        slowest = std::max(slowest, std::chrono::duration<double>(Clock::now() - before).count());
    }
    std::printf("seed %llu: %llu templates, %llu parsed, %llu rendered, slowest %.3f s, no finding\n",
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(counts.executions),
                static_cast<unsigned long long>(counts.parsed), static_cast<unsigned long long>(counts.rendered),
                slowest);
    // A run that never gets past the parser or never renders would find nothing.
    return counts.parsed > counts.executions / 20 && counts.rendered > counts.executions / 100 ? 0 : 1;
}
