// The program on SmolLM2-135M-Instruct, Q4_1. Skipped where the model is not.
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <iostream>
#include <string>

#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"

using namespace vigil::test;

namespace {

std::string model() {
    const char* from_environment = std::getenv("VIGIL_MODEL");
    std::string path =
        from_environment != nullptr ? from_environment : VIGIL_TEST_DATA "/../models/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!std::filesystem::exists(path)) {
        std::cerr << "skipped: no model at " << path << "; VIGIL_MODEL names another place\n";
        std::exit(77);
    }
    return path;
}

}  // namespace

TEST_CASE("run streams a greedy continuation that is the same each time") {
    const std::vector<std::string> arguments = {"run", model(), "The capital of France is", "-n", "12", "--temp", "0"};
    const Result first = run_on_device(arguments);
    CHECK(first.out.find("Paris") != std::string::npos);
    CHECK(run_on_device(arguments).out == first.out);
}

TEST_CASE("chat answers by the file's own template, and a second message feeds only what is new") {
    const Result result = run_on_device({"chat", model(), "-n", "16", "--temp", "0"},
                                        write_file("in.txt", "What is the capital of France?\nAnd of Italy?\n"));
    CHECK(result.out.find("Paris") != std::string::npos);
    const auto lines = messages_of(result);
    REQUIRE(lines.size() == 2);
    int prompt_tokens = 0;
    int new_tokens = 0;
    REQUIRE(std::sscanf(lines[1].c_str(), "[%d prompt tokens, %d of them new", &prompt_tokens, &new_tokens) == 2);
    CHECK(new_tokens < prompt_tokens / 2);
}

TEST_CASE("ordinary text is foreseen, shuffled text is not") {
    const auto nll = [](const char* text) {
        const Result result = run_on_device({"perplexity", model(), write_file("text.txt", text), "--json"});
        return Json::parse(result.out).at("nll").get<double>();
    };
    CHECK(nll("The cat sat on the mat and looked out of the window at the rain.") <
          nll("Rain the mat window cat of the at on looked the and the sat out.") - 1);
}

TEST_CASE("tokenize gives the reference's ids") {
    CHECK(run({"tokenize", model(), "Hello world"}).out == "19556 905\n");
    CHECK(run({"tokenize", model(), "--detokenize", "19556,905"}).out == "Hello world\n");
}

TEST_CASE("inspect shows all of a file of ordinary size") {
    const Json json = Json::parse(run({"inspect", model(), "--json"}).out);
    CHECK(json.at("tensors").size() == 272);
    CHECK(json.at("metadata").at("tokenizer.ggml.tokens").at("value").size() == 49152);
}
