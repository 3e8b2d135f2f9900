// The error of every quantiser against ggml's own on tensors of SmolLM2-135M-Instruct (make_golden.py).
#include <algorithm>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <iostream>
#include <vector>

#include "host/gguf/gguf.h"
#include "tests/quantize/round_trip.h"

using namespace vigil;
using namespace vigil::test;

namespace {

constexpr std::uint64_t most_of_a_tensor = 1 << 18;

// Exits with CTest's code for a skipped test if the model is not there.
gguf::File open_model() {
    const char* from_environment = std::getenv("VIGIL_MODEL");
    const std::filesystem::path path =
        from_environment != nullptr ? from_environment : VIGIL_TEST_DATA "/../models/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!std::filesystem::exists(path)) {
        std::cerr << "skipped: no model at " << path << "; VIGIL_MODEL names another place\n";
        std::exit(77);
    }
    return gguf::File::open(path);
}

std::vector<float> first_weights(const gguf::TensorInfo& tensor) {
    const std::uint64_t count = std::min(tensor.cols() * tensor.rows(), most_of_a_tensor) / 256 * 256;
    std::vector<float> weights(count);
    gguf::dequantize(tensor.type, tensor.data, weights);
    return weights;
}

}  // namespace

TEST_CASE("no quantiser's error is above 1.05 times ggml's on the real model's tensors") {
    const auto file = open_model();
    std::size_t n_checked = 0;
    for (const auto& reference : reference_errors()) {
        const auto* tensor = file.find_tensor(reference.source);
        if (tensor == nullptr) continue;  // a distribution
        check_error(reference, first_weights(*tensor));
        ++n_checked;
    }
    CHECK(n_checked == 5 * 8);
}
