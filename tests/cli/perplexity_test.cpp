// vigil perplexity: its figure is that of the logits which it writes.
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <filesystem>
#include <string>
#include <vector>

#include "host/gguf/gguf.h"
#include "host/tokenizer/tokenizer.h"
#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"

using namespace vigil::test;

namespace {

constexpr std::size_t kVocab = 512;  // of the tiny model

const std::string& sample_text() {
    static const std::string text = [] {
        std::string s;
        for (int i = 0; i < 24; ++i) s += "Line " + std::to_string(i * i) + " ends here.\n";
        return s;
    }();
    return text;
}

std::vector<vigil::Token> sample_tokens() {
    const auto file = vigil::gguf::File::open(tiny_model());
    return vigil::Tokenizer::from_gguf(file).encode(sample_text());
}

std::vector<float> read_floats(const std::filesystem::path& path) {
    const std::string bytes = read_file(path);
    std::vector<float> floats(bytes.size() / sizeof(float));
    std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
    return floats;
}

double log_probability(const float* logits, vigil::Token token) {
    double largest = -INFINITY;
    for (std::size_t i = 0; i < kVocab; ++i) largest = std::fmax(largest, logits[i]);
    double sum = 0;
    for (std::size_t i = 0; i < kVocab; ++i) sum += std::exp(logits[i] - largest);
    return logits[token] - largest - std::log(sum);
}

struct Sum {
    double nll = 0;
    std::size_t n = 0;
};

// Every token of a window but its first.
Sum recompute(const std::vector<float>& logits, const std::vector<vigil::Token>& tokens, std::size_t window) {
    Sum sum;
    for (std::size_t i = 1; i < tokens.size(); ++i) {
        if (i % window == 0) continue;
        sum.nll -= log_probability(&logits[(i - 1) * kVocab], tokens[i]);
        ++sum.n;
    }
    return sum;
}

Json score(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"perplexity", tiny_model(), write_file("sample.txt", sample_text()),
                                          "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Json::parse(run_on_device(arguments).out);
}

}  // namespace

TEST_CASE("the figure is that of the logits written, for windows that pieces of 64 divide and do not divide") {
    const auto tokens = sample_tokens();
    REQUIRE(tokens.size() > 300);
    for (const std::size_t window : {2u, 63u, 64u, 65u, 100u, 129u, 1000u}) {
        CAPTURE(window);
        const auto path = new_path("logits");
        const Json json = score({"-c", std::to_string(window), "--logits-out", path});
        const auto logits = read_floats(path);
        REQUIRE(logits.size() == tokens.size() * kVocab);
        const Sum sum = recompute(logits, tokens, window);
        CHECK(json.at("tokens") == sum.n);
        CHECK(json.at("nll").get<double>() == doctest::Approx(sum.nll / static_cast<double>(sum.n)).epsilon(1e-5));
        CHECK(json.at("perplexity").get<double>() ==
              doctest::Approx(std::exp(json.at("nll").get<double>())).epsilon(1e-9));
    }
}

TEST_CASE("a last window of one token has logits, but counts nothing") {
    const auto tokens = sample_tokens();
    const std::size_t window = tokens.size() - 1;
    const auto path = new_path("logits");
    const Json json = score({"-c", std::to_string(window), "--logits-out", path});
    CHECK(json.at("tokens") == window - 1);
    CHECK(read_floats(path).size() == tokens.size() * kVocab);
    CHECK(score({"-c", std::to_string(window)}) == json);
}

TEST_CASE("every dispatch gives the same figure") {
    const Json persistent = score({"-c", "100"});
    CHECK(score({"-c", "100", "--dispatch", "graph"}) == persistent);
    CHECK(score({"-c", "100", "--dispatch", "launch"}) == persistent);
}

TEST_CASE("windows of 512 are the default, and the file may be standard input") {
    const Json by_default = score({});
    CHECK(by_default == score({"-c", "512"}));
    const std::string file = write_file("sample.txt", sample_text());
    const Result piped = run_on_device({"perplexity", tiny_model(), "-", "--json"}, file);
    CHECK(Json::parse(piped.out) == by_default);
}

TEST_CASE("special tokens can be read as plain text") {
    const std::string file = write_file("special.txt", "one<|endoftext|>two");
    const auto count = [&](std::vector<std::string> more) {
        std::vector<std::string> arguments = {"perplexity", tiny_model(), file, "--json"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return Json::parse(run_on_device(arguments).out).at("tokens").get<int>();
    };
    CHECK(count({"--no-special"}) > count({}));
}

TEST_CASE("without --json the figures stand in one line") {
    const Result result = run_on_device({"perplexity", tiny_model(), write_file("sample.txt", sample_text())});
    CHECK(lines_of(result.out).size() == 1);
    CHECK(result.out.starts_with("nll "));
    CHECK(result.out.find("perplexity ") != std::string::npos);
    CHECK(messages_of(result).empty());
}

TEST_CASE("an existing file is replaced only by a whole one") {
    const std::string path = write_file("logits", "as it was");
    run_on_device({"perplexity", tiny_model(), "/dev/null", "--logits-out", path}, "/dev/null", 1);
    CHECK(read_file(path) == "as it was");
    score({"--logits-out", path});
    CHECK(read_file(path).size() == sample_tokens().size() * kVocab * sizeof(float));
}
