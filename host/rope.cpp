#include "host/rope.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numbers>

#include "host/config_keys.h"
#include "host/gguf/dequantize.h"
#include "host/model.h"

namespace vigil::host {
namespace {

constexpr const char* kFreqFactorsTensor = "rope_freqs.weight";

double positive(const gguf::File& file, const std::string& key, double fallback) {
    const double value = file.get_f32(key, static_cast<float>(fallback));
    if (!(value > 0.0) || !std::isfinite(value))
        throw file.error(fmt::format("key '{}': {} is not a positive number", key, value));
    return value;
}

RopeParameters::Scaling read_scaling(const gguf::File& file, const std::string& key) {
    // Files without the key may still give a factor, which then is a linear one.
    const std::string_view type = file.get_string(key, "linear");
    if (type == "none") return RopeParameters::Scaling::none;
    if (type == "linear") return RopeParameters::Scaling::linear;
    if (type == "yarn") return RopeParameters::Scaling::yarn;
    throw file.error(fmt::format("key '{}': RoPE scaling '{}' is not supported; none, linear and yarn are", key, type));
}

// The pair that makes `turns` turns within the original context.
double pair_with_turns(const RopeParameters& rope, double turns) {
    return rope.rotary_dim * std::log(rope.original_context / (turns * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(rope.freq_base));
}

std::vector<float> read_freq_factors(const gguf::File& file, std::int32_t n_pairs) {
    const gguf::TensorInfo* tensor = file.find_tensor(kFreqFactorsTensor);
    if (tensor == nullptr) return {};
    if (tensor->dims.size() != 1 || tensor->cols() != static_cast<std::uint64_t>(n_pairs))
        throw file.error(fmt::format("tensor '{}': {} values, expected [{}], one per rotated pair", kFreqFactorsTensor,
                                     tensor->cols() * tensor->rows(), n_pairs));
    std::vector<float> factors(static_cast<std::size_t>(n_pairs));
    gguf::dequantize(tensor->type, tensor->data, factors);
    for (std::size_t i = 0; i < factors.size(); ++i)
        if (!(factors[i] > 0.0f) || !std::isfinite(factors[i]))
            throw file.error(
                fmt::format("tensor '{}': value {} at {} is not a positive number", kFreqFactorsTensor, factors[i], i));
    return factors;
}

}  // namespace

RopeParameters read_rope_parameters(const gguf::File& file, const std::string& architecture, std::int32_t rotary_dim,
                                    std::int32_t context_length) {
    const std::string rope_prefix = architecture + ".rope.";
    const std::string scaling_prefix = rope_prefix + "scaling.";
    RopeParameters rope;
    rope.rotary_dim = rotary_dim;
    rope.scaling = read_scaling(file, scaling_prefix + "type");
    rope.freq_base = positive(file, rope_prefix + "freq_base", rope.freq_base);
    if (rope.freq_base <= 1.0)
        throw file.error(fmt::format("key '{}freq_base': {} must be more than 1", rope_prefix, rope.freq_base));
    rope.attn_factor = positive(file, scaling_prefix + "attn_factor", rope.attn_factor);
    if (rope.scaling == RopeParameters::Scaling::none) return rope;

    // Files written before scaling had types say scale_linear. Both may be there as 0: not scaled.
    const std::string factor_key = scaling_prefix + "factor";
    const std::string used_key = file.find(factor_key) != nullptr ? factor_key : rope_prefix + "scale_linear";
    if (file.get_f32(used_key, 0.0f) != 0.0f) rope.factor = positive(file, used_key, 1.0);
    if (rope.scaling == RopeParameters::Scaling::linear) return rope;

    const std::string original_key = scaling_prefix + "original_context_length";
    rope.original_context = file.get_u32(original_key, static_cast<std::uint32_t>(context_length));
    if (rope.original_context < 1.0)
        throw file.error(fmt::format("key '{}': {} is not a positive number", original_key, rope.original_context));
    rope.yarn_ext_factor = file.get_f32(scaling_prefix + "yarn_ext_factor", 1.0f);
    rope.yarn_beta_fast = positive(file, scaling_prefix + "yarn_beta_fast", rope.yarn_beta_fast);
    rope.yarn_beta_slow = positive(file, scaling_prefix + "yarn_beta_slow", rope.yarn_beta_slow);
    rope.yarn_log_multiplier = file.get_f32(scaling_prefix + "yarn_log_multiplier", 0.0f);
    if (!std::isfinite(rope.yarn_ext_factor) || !std::isfinite(rope.yarn_log_multiplier))
        throw file.error(fmt::format("keys '{}yarn_*': a value is not finite", scaling_prefix));
    return rope;
}

std::vector<double> rope_frequencies(const RopeParameters& rope, const std::vector<float>& freq_factors) {
    double low = 0.0;
    double high = 0.0;
    if (rope.scaling == RopeParameters::Scaling::yarn) {
        low = std::max(0.0, std::floor(pair_with_turns(rope, rope.yarn_beta_fast)));
        high = std::min(rope.rotary_dim - 1.0, std::ceil(pair_with_turns(rope, rope.yarn_beta_slow)));
    }
    std::vector<double> frequencies(static_cast<std::size_t>(rope.rotary_dim / 2));
    for (std::size_t pair = 0; pair < frequencies.size(); ++pair) {
        double trained = std::pow(rope.freq_base, -2.0 * static_cast<double>(pair) / rope.rotary_dim);
        if (!freq_factors.empty()) trained /= freq_factors[pair];
        const double stretched = trained / rope.factor;
        frequencies[pair] = stretched;
        if (rope.scaling != RopeParameters::Scaling::yarn) continue;
        // Fast pairs keep what they learned, slow ones are stretched, those between are mixed.
        const double ramp = (static_cast<double>(pair) - low) / std::max(0.001, high - low);
        const double keep = (1.0 - std::clamp(ramp, 0.0, 1.0)) * rope.yarn_ext_factor;
        frequencies[pair] = stretched * (1.0 - keep) + trained * keep;
    }
    return frequencies;
}

double rope_magnitude(const RopeParameters& rope) {
    if (rope.scaling != RopeParameters::Scaling::yarn || rope.yarn_ext_factor == 0.0) return rope.attn_factor;
    const auto magnitude = [&](double multiplier) {
        return rope.factor <= 1.0 ? 1.0 : 1.0 + 0.1 * multiplier * std::log(rope.factor);
    };
    // The multiplier is what DeepSeek's config calls mscale_all_dim.
    const double all_dims = rope.yarn_log_multiplier == 0.0 ? 1.0 : magnitude(rope.yarn_log_multiplier);
    return magnitude(1.0) / all_dims * rope.attn_factor;
}

std::uint64_t turns_from_radians(double radians) {
    const double turns = radians / (2.0 * std::numbers::pi);
    return static_cast<std::uint64_t>(std::ldexp(turns - std::floor(turns), 64));
}

std::vector<std::uint64_t> rope_turns(const gguf::File& file, const device::ModelConfig& config) {
    const std::string architecture = supported_architecture(file);
    const auto rope = read_rope_parameters(file, architecture, config.rotary_dim, context_length(file, architecture));
    std::vector<std::uint64_t> turns;
    for (const double frequency : rope_frequencies(rope, read_freq_factors(file, config.rotary_dim / 2)))
        turns.push_back(turns_from_radians(frequency));
    return turns;
}

}  // namespace vigil::host
