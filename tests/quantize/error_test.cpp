// The error of every quantiser against ggml's own on weights of eight distributions (make_golden.py).
#include <cstring>
#include <doctest/doctest.h>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "host/gguf/float16.h"
#include "tests/quantize/round_trip.h"

using namespace vigil;
using namespace vigil::test;

namespace {

constexpr std::size_t weights_per_distribution = 4096;

// By name, in the order of the file.
std::map<std::string, std::vector<float>> golden_weights(const std::vector<ReferenceError>& references) {
    const std::string path = VIGIL_TEST_DATA "/quantize/golden/weights.f16";
    std::ifstream file(path, std::ios::binary);
    REQUIRE_MESSAGE(file, path);
    std::map<std::string, std::vector<float>> weights;
    for (const auto& reference : references) {
        if (weights.contains(reference.source)) continue;
        std::vector<std::uint16_t> halves(weights_per_distribution);
        if (!file.read(reinterpret_cast<char*>(halves.data()), weights_per_distribution * 2)) break;
        auto& values = weights[reference.source];
        for (const auto half : halves) values.push_back(gguf::half_to_float(half));
    }
    return weights;
}

}  // namespace

TEST_CASE("no quantiser's error is above 1.05 times ggml's on any distribution") {
    const auto references = reference_errors();
    const auto weights = golden_weights(references);
    CHECK(weights.size() == 8);
    std::size_t n_checked = 0;
    for (const auto& reference : references) {
        const auto found = weights.find(reference.source);
        if (found == weights.end()) continue;  // a tensor of the real model
        check_error(reference, found->second);
        ++n_checked;
    }
    CHECK(n_checked == 8 * 8);
}
