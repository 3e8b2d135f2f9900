// The oracle itself against transformers on small synthetic models of every architecture and RoPE scaling.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unistd.h>

#include "bench/synth/write_model.h"
#include "tests/reference/oracle.h"

using namespace vigil;
using namespace vigil::reference;

namespace {

synth::ModelSpec spec_of(const nlohmann::json& golden, const nlohmann::json& entry) {
    using synth::RopeScaling;
    const std::map<std::string, RopeScaling> scalings = {{"none", RopeScaling::none},
                                                         {"linear", RopeScaling::linear},
                                                         {"llama3", RopeScaling::llama3},
                                                         {"yarn", RopeScaling::yarn}};
    synth::ModelSpec spec;
    spec.architecture = entry.at("arch");
    spec.rope_scaling = scalings.at(entry.at("rope_scaling"));
    spec.rope_factor = golden.at("rope_factor");
    spec.rope_original_context = golden.at("rope_original_context");
    spec.seed = golden.at("seed");
    return spec;
}

// The sum of a file's 32-bit words; its size is a multiple of four, as GGUF pads its data.
std::uint64_t word_sum(const std::filesystem::path& path) {
    std::vector<std::uint32_t> words(std::filesystem::file_size(path) / sizeof(std::uint32_t));
    std::ifstream(path, std::ios::binary)
        .read(reinterpret_cast<char*>(words.data()),
              static_cast<std::streamsize>(words.size() * sizeof(std::uint32_t)));
    return std::accumulate(words.begin(), words.end(), std::uint64_t{0});
}

}  // namespace

TEST_CASE("the oracle's logits are those of transformers for every architecture and RoPE scaling") {
    std::ifstream text(std::filesystem::path(VIGIL_TEST_DATA) / "golden" / "model" / "tiny.json");
    REQUIRE(text);
    const auto golden = nlohmann::json::parse(text);
    const std::vector<int> positions = golden.at("positions");
    const std::vector<std::size_t> columns = golden.at("columns");
    const auto path = std::filesystem::temp_directory_path() / ("vigil-oracle-" + std::to_string(getpid()) + ".gguf");
    double worst = 0.0;
    for (const auto& entry : golden.at("cases")) {
        CAPTURE(entry.at("arch").get<std::string>());
        CAPTURE(entry.at("rope_scaling").get<std::string>());
        synth::write_model(spec_of(golden, entry), path, 1);
        REQUIRE_MESSAGE(word_sum(path) == entry.at("file_sum").get<std::uint64_t>(),
                        "the model maker makes another model than the golden data is of: run make_tiny_golden.py");
        Oracle oracle(gguf::File::open(path));
        const std::vector<int> tokens = entry.at("tokens");
        const auto logits = entry.at("logits").get<std::vector<std::vector<double>>>();
        for (const int token : tokens) {
            const auto at = std::find(positions.begin(), positions.end(), oracle.position());
            const TokenTrace& trace = oracle.forward(token, at != positions.end());
            if (at == positions.end()) continue;
            for (std::size_t i = 0; i < columns.size(); ++i) {
                const double want = logits[static_cast<std::size_t>(at - positions.begin())][i];
                const double difference = std::abs(trace.logits[columns[i]] - want);
                worst = std::max(worst, difference);
                CHECK(difference < 1e-4);
            }
        }
    }
    std::filesystem::remove(path);
    MESSAGE("largest difference of a logit: " << worst);
}
