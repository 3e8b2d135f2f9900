// Runs two tokens step by step on a device and holds every buffer against the oracle.
//
// The measure: the largest difference of any element, over the largest magnitude in the oracle's buffer. The oracle
// rounds weights and KV cache as the device stores them, so what is left is arithmetic. (Not over the root mean square:
// an element of K or V that lies between two FP16 numbers may go either way, which is up to 2^-10 of itself.)
#pragma once

#include <map>
#include <span>
#include <string>

#include "host/gguf/gguf.h"
#include "tests/reference/harness.h"

namespace vigil::phases {

struct CheckOptions {
    int context = 0;          // positions that are in the KV cache before the first of the two tokens
    float key_spread = 1.0f;  // standard deviation of the keys there; more makes attention more peaked
    std::uint64_t seed = 1;
    int n_blocks = 0;  // 0: the device chooses
};

struct Deviations {
    std::map<std::string, double> by_phase;  // the worst of all layers and both tokens
    double two_tokens = 0.0;                 // the second token's logits
    double least_cosine = 1.0;               // of a residual after a layer

    void merge(const Deviations& other);
};

Deviations compare_two_tokens(const gguf::File& file, const CheckOptions& options);

// Checks `d` against the project's limits: 1e-3 per phase, 5e-3 for two tokens, cosine 0.9999 per layer.
void check_limits(const Deviations& d);
// One line per phase into the test's log.
void report(const std::string& title, const Deviations& d);

// max |got - want| / max |want|; infinity if any value is not finite or the sizes differ.
double deviation(std::span<const float> got, std::span<const double> want);

}  // namespace vigil::phases
