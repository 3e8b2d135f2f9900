// vigil quantize as its user meets it: run as a process.
#include <chrono>
#include <csignal>
#include <doctest/doctest.h>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "bench/synth/write_model.h"
#include "host/gguf/gguf.h"
#include "tests/cli/child.h"
#include "tests/cli/files.h"

using namespace vigil;
using namespace vigil::test;

TEST_CASE("quantize writes a model that inspect and run take, and says what it has written") {
    const std::string out = new_path("quantised.gguf");
    const Result result = run({"quantize", tiny_model(), out, "q4_k_m", "--threads", "2"});
    CAPTURE(result.err);
    CHECK(result.exit_code == 0);
    CHECK(result.out.find("bits per weight") != std::string::npos);
    CHECK(result.err == "");
    const auto file = gguf::File::open(out);
    CHECK(file.require_tensor("token_embd.weight").type == gguf::TensorType::Q6_K);
    CHECK(run({"inspect", out}).exit_code == 0);
    const Result text = run({"run", out, "some words", "-n", "4", "--device", "cpu", "--threads", "1"});
    CAPTURE(text.err);
    CHECK(text.exit_code == 0);
}

TEST_CASE("a bad command line of quantize ends with its exit code and names what is wrong") {
    const std::string model = tiny_model();
    const std::string out = new_path("out.gguf");
    const struct {
        std::vector<std::string> arguments;
        int exit_code;
        std::string message;
    } cases[] = {
        {{"quantize"}, 2, "IN is required"},
        {{"quantize", model}, 2, "OUT is required"},
        {{"quantize", model, out}, 2, "TYPE is required"},
        {{"quantize", model, out, "Q9"}, 2, "'Q9'"},
        {{"quantize", model, out, "Q2_K"}, 2, "'Q2_K'"},
        {{"quantize", model, out, "Q4_K_M", "--pure"}, 2, "Q4_K_M is a mixture; Q4_K"},
        {{"quantize", model, out, "Q8_0", "--threads", "-1"}, 2, "--threads"},
        {{"quantize", model, out, "Q8_0", "more"}, 2, "more"},
        {{"quantize", model, "", "Q8_0"}, 2, "empty"},
        {{"quantize", "none.gguf", out, "Q8_0"}, 1, "none.gguf"},
        {{"quantize", model, model, "Q8_0"}, 1, "would overwrite"},
        {{"quantize", model, "/no/such/folder/m.gguf", "Q8_0"}, 1, "/no/such/folder/m.gguf"},
    };
    for (const auto& test : cases) {
        const Result result = run(test.arguments);
        CAPTURE(test.message);
        CAPTURE(result.err);
        CHECK(result.exit_code == test.exit_code);
        CHECK(result.out == "");
        CHECK(result.err.find(test.message) != std::string::npos);
        CHECK_FALSE(std::filesystem::exists(out));
    }
}

TEST_CASE("Ctrl-C leaves no file behind") {
    synth::ModelSpec spec;
    spec.vocab_size = 400000;  // seconds of work
    const std::filesystem::path in = new_path("large.gguf");
    synth::write_model(spec, in);
    const std::filesystem::path out = new_path("interrupted.gguf");
    const auto n_files = [&] {
        std::ptrdiff_t n = 0;
        for (const auto& entry : std::filesystem::directory_iterator(out.parent_path()))
            n += entry.path().filename().string().starts_with(out.filename().string());
        return n;
    };
    Child child({"quantize", in, out, "Q5_K", "--pure", "--threads", "1"});
    for (int i = 0; i < 3000 && n_files() == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    REQUIRE(n_files() == 1);
    child.send(SIGINT);
    const Result result = child.wait();
    CHECK(result.exit_code == 130);
    CHECK(result.err.find("interrupted") != std::string::npos);
    CHECK(n_files() == 0);
}
