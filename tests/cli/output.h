// Reading what the program prints.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cli/child.h"

namespace vigil::test {

using Json = nlohmann::json;

std::vector<std::string> lines_of(std::string_view text);

// The lines of standard error, without the warning of a GPU machine that has no cuBLAS: nothing is wrong there.
std::vector<std::string> messages_of(const Result& result);

// What `vigil run --json` printed. Fails the test case for a line that is no JSON.
struct Transcript {
    std::vector<Json> tokens;
    Json summary;

    std::vector<int> ids() const;
    std::string text() const;
};

Transcript read_transcript(const std::string& out);

// Ends the test program as skipped if the device that tests run on is not there.
void skip_without_device();

// Runs the program on that device; it has to end with `exit_code`.
Result run_on_device(std::vector<std::string> arguments, const std::string& input = "/dev/null", int exit_code = 0);

}  // namespace vigil::test
