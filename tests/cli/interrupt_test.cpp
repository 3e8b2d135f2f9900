// Ctrl-C while vigil reads, generates and scores.
#include <chrono>
#include <csignal>
#include <doctest/doctest.h>
#include <filesystem>
#include <string>
#include <thread>

#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"
#include "tests/patience.h"

using namespace vigil::test;

namespace {

// More than any test waits for.
const std::vector<std::string> kEndless = {"-n", "-1", "-c", "100000", "--ignore-eos"};

std::vector<std::string> endless_run(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"run", tiny_model(), "on and on"};
    arguments.insert(arguments.end(), kEndless.begin(), kEndless.end());
    arguments.insert(arguments.end(), more.begin(), more.end());
    return on_device(arguments);
}

}  // namespace

TEST_CASE("Ctrl-C ends the generation and still prints the summary") {
    skip_without_device();
    Child child(endless_run({"--json"}));
    child.read(2000);
    const auto sent = std::chrono::steady_clock::now();
    child.send(SIGINT);
    const Result result = child.wait();
    CHECK(std::chrono::steady_clock::now() - sent < kSlowdown * std::chrono::seconds(10));
    CHECK(result.exit_code == 130);
    const auto transcript = read_transcript(result.out);
    CHECK(transcript.summary.at("finish_reason") == "cancelled");
    CHECK(transcript.summary.at("generated_tokens") == transcript.tokens.size());
    CHECK(transcript.tokens.size() > 10);
}

TEST_CASE("Ctrl-C ends the text with a line end and the closing line") {
    Child child(endless_run({}));
    child.read(20);
    child.send(SIGINT);
    const Result result = child.wait();
    CHECK(result.exit_code == 130);
    CHECK(result.out.ends_with('\n'));
    CHECK(result.err.find("tokens/s") != std::string::npos);
}

TEST_CASE("Ctrl-C while the prompt is awaited ends the program") {
    Child child(on_device({"run", tiny_model()}), "-");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    child.send(SIGINT);
    const Result result = child.wait();
    CHECK((result.exit_code == 130 || result.signal == SIGINT));
}

TEST_CASE("Ctrl-C while a text is scored leaves no file behind") {
    std::string text;
    for (int i = 0; i < 20000; ++i) text += "the next number is " + std::to_string(i) + "\n";
    const std::filesystem::path logits = new_path("logits");
    const std::string unfinished = logits.filename().string();
    const auto n_begun = [&] {
        std::ptrdiff_t n = 0;
        for (const auto& entry : std::filesystem::directory_iterator(logits.parent_path()))
            n += entry.path().filename().string().starts_with(unfinished) && entry.file_size() > 0;
        return n;
    };
    Child child(on_device({"perplexity", tiny_model(), write_file("long.txt", text), "--logits-out", logits}));
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (n_begun() == 0 && std::chrono::steady_clock::now() < give_up)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    REQUIRE(n_begun() == 1);
    CHECK_FALSE(std::filesystem::exists(logits));
    child.send(SIGINT);
    const Result result = child.wait();
    CHECK(result.exit_code == 130);
    CHECK(result.out == "");
    CHECK(result.err.find("interrupted after") != std::string::npos);
    CHECK(n_begun() == 0);
}
