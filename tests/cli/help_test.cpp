// What the program says about itself.
#include <doctest/doctest.h>
#include <string>

#include "tests/cli/child.h"

using namespace vigil::test;

TEST_CASE("--version prints name and version") {
    const Result result = run({"--version"});
    CHECK(result.exit_code == 0);
    CHECK(result.out.starts_with("vigil "));
    CHECK(result.err == "");
}

TEST_CASE("--help lists the commands and the exit codes") {
    const Result result = run({"--help"});
    CHECK(result.exit_code == 0);
    for (const char* word :
         {"run", "chat", "bench", "tokenize", "perplexity", "inspect", "doctor", "Exit codes", "130"}) {
        CAPTURE(word);
        CHECK(result.out.find(word) != std::string::npos);
    }
}

TEST_CASE("the help of run shows llama.cpp's defaults") {
    const Result result = run({"run", "--help"});
    CHECK(result.exit_code == 0);
    for (const char* part : {"=128", "=0.8", "=40", "=0.95", "=0.05", "=64"}) {
        CAPTURE(part);
        CHECK(result.out.find(part) != std::string::npos);
    }
}
