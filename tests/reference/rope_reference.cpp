#include "tests/reference/rope_reference.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "host/gguf/dequantize.h"

namespace vigil::reference {
namespace {

// The pair index at which a frequency makes `turns` full turns within the original context.
double pair_with_turns(double turns, double context, double base, int rotary_dim) {
    return rotary_dim * std::log(context / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(base));
}

}  // namespace

Rope read_rope(const gguf::File& file, const std::string& arch, int rotary_dim) {
    const auto key = [&](const char* name) { return arch + ".rope." + name; };
    const double base = file.get_f32(key("freq_base"), 10000.0f);
    const int pairs = rotary_dim / 2;
    Rope rope;
    for (int i = 0; i < pairs; ++i) rope.frequencies.push_back(std::pow(base, -2.0 * i / rotary_dim));

    if (const auto* divisors = file.find_tensor("rope_freqs.weight"); divisors != nullptr) {
        std::vector<float> values(static_cast<std::size_t>(divisors->cols()));
        gguf::dequantize(divisors->type, divisors->data, values);
        for (int i = 0; i < pairs; ++i) rope.frequencies[i] /= values.at(i);
    }

    // A factor without a type means linear; scale_linear is that factor's older name.
    const double factor = file.get_f32(key("scaling.factor"), file.get_f32(key("scale_linear"), 0.0f));
    const std::string type{file.get_string(key("scaling.type"), "linear")};
    if (factor == 0.0 || type == "none") return rope;
    if (type == "linear") {
        for (double& frequency : rope.frequencies) frequency /= factor;
        return rope;
    }
    if (type != "yarn") throw file.error("key '" + key("scaling.type") + "': the oracle does not know '" + type + "'");

    // Frequencies that turn often keep their value, slow ones are interpolated, with a ramp between.
    const double context =
        file.get_u32(key("scaling.original_context_length"), file.get_u32(arch + ".context_length", 0));
    const double fast = file.get_f32(key("scaling.yarn_beta_fast"), 32.0f);
    const double slow = file.get_f32(key("scaling.yarn_beta_slow"), 1.0f);
    const double low = std::max(0.0, std::floor(pair_with_turns(fast, context, base, rotary_dim)));
    const double high = std::min(rotary_dim - 1.0, std::ceil(pair_with_turns(slow, context, base, rotary_dim)));
    for (int i = 0; i < pairs; ++i) {
        const double ramp = std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
        rope.frequencies[i] *= (1.0 - ramp) + ramp / factor;
    }
    rope.magnitude = (1.0 + 0.1 * std::log(factor)) * file.get_f32(key("scaling.attn_factor"), 1.0f);
    return rope;
}

}  // namespace vigil::reference
