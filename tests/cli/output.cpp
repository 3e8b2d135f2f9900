#include "tests/cli/output.h"

#include <cstdlib>
#include <doctest/doctest.h>
#include <iostream>
#include <sstream>

#include "tests/cli/files.h"

namespace vigil::test {

void skip_without_device() {
    // Asked once.
    static const bool there = [] {
        const char* device = std::getenv("VIGIL_TEST_DEVICE");
        if (device == nullptr || std::string_view(device) == "cpu") return true;
        return !Json::parse(run({"doctor", "--json"}).out).at("usable_gpus").empty();
    }();
    if (there) return;
    std::cerr << "skipped: VIGIL_TEST_DEVICE asks for a GPU and there is none that vigil can use\n";
    std::exit(77);
}

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    std::istringstream stream{std::string(text)};
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return lines;
}

std::vector<std::string> messages_of(const Result& result) {
    std::vector<std::string> lines = lines_of(result.err);
    std::erase_if(lines, [](const std::string& line) {
        return line.starts_with("vigil: warning: ") &&
               line.ends_with("; prefill runs vigil's own GEMM, which is slower");
    });
    return lines;
}

std::vector<int> Transcript::ids() const {
    std::vector<int> result;
    result.reserve(tokens.size());
    for (const Json& token : tokens) result.push_back(token.at("id").get<int>());
    return result;
}

std::string Transcript::text() const {
    std::string result;
    for (const Json& token : tokens) result += token.at("text").get<std::string>();
    return result;
}

Transcript read_transcript(const std::string& out) {
    Transcript transcript;
    for (const std::string& line : lines_of(out)) {
        CAPTURE(line);
        REQUIRE(transcript.summary.is_null());  // it comes last
        Json object;
        REQUIRE_NOTHROW(object = Json::parse(line));
        if (object.contains("summary"))
            transcript.summary = object.at("summary");
        else
            transcript.tokens.push_back(object);
    }
    REQUIRE(transcript.summary.is_object());
    return transcript;
}

Result run_on_device(std::vector<std::string> arguments, const std::string& input, int exit_code) {
    skip_without_device();
    Result result = run(on_device(std::move(arguments)), input);
    CAPTURE(result.err);
    REQUIRE(result.exit_code == exit_code);
    return result;
}

}  // namespace vigil::test
