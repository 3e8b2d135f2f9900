#include "bench/synth/tensor_plan.h"

#include <cmath>
#include <fmt/format.h>
#include <numbers>

#include "host/quantize/recipe.h"

namespace vigil::synth {
namespace {

using gguf::TensorType;

// Logits with this spread give a distribution that is neither flat nor certain.
constexpr double logit_deviation = 2.5;

// What RoPE's frequencies are divided by under Llama 3's scaling; the numbers besides factor and original context are
// those of every Llama 3 model (rope_scaling in its config.json).
std::vector<float> llama3_rope_divisors(const ModelSpec& spec) {
    constexpr double low_frequency_factor = 1;
    constexpr double high_frequency_factor = 4;
    const double context = spec.rope_original_context;
    std::vector<float> divisors;
    for (std::uint32_t i = 0; i < spec.head_dim; i += 2) {
        const double frequency = std::pow(double{spec.rope_theta}, -double(i) / spec.head_dim);
        const double turns = context * frequency / (2 * std::numbers::pi);  // within the original context
        double divisor = spec.rope_factor;
        if (turns > high_frequency_factor) {
            divisor = 1;
        } else if (turns >= low_frequency_factor) {
            const double smooth = (turns - low_frequency_factor) / (high_frequency_factor - low_frequency_factor);
            divisor = 1 / ((1 - smooth) / spec.rope_factor + smooth);
        }
        divisors.push_back(static_cast<float>(divisor));
    }
    return divisors;
}

class Planner {
   public:
    explicit Planner(const ModelSpec& spec)
        : spec_(spec),
          recipe_(*quantize::find_recipe(spec.type)),
          outline_{spec.n_layers, spec.tied, spec.n_heads != spec.n_kv_heads} {}

    std::vector<PlannedTensor> plan() {
        // A tied embedding must spread the logits.
        const double output_deviation = logit_deviation / std::sqrt(double(spec_.dim));
        add_matrix("token_embd.weight", spec_.dim, spec_.vocab_size, spec_.tied ? output_deviation : 1.0);
        add_norm("output_norm.weight", spec_.dim);
        if (!spec_.tied) {
            add_matrix("output.weight", spec_.dim, spec_.vocab_size, output_deviation);
        }
        if (spec_.rope_scaling == RopeScaling::llama3) {
            tensors_.push_back({.name = "rope_freqs.weight",
                                .type = TensorType::F32,
                                .dims = {spec_.head_dim / 2},
                                .values = llama3_rope_divisors(spec_)});
        }
        for (std::uint32_t layer = 0; layer < spec_.n_layers; ++layer) add_layer(layer);
        return std::move(tensors_);
    }

   private:
    void add_layer(std::uint32_t layer) {
        const std::uint64_t dim = spec_.dim;
        const std::uint64_t q_dim = std::uint64_t{spec_.n_heads} * spec_.head_dim;
        const std::uint64_t kv_dim = std::uint64_t{spec_.n_kv_heads} * spec_.head_dim;
        // Inputs of deviation 1 stay so. What is added to the residual 2·n_layers times sums up to order 1 to 2, enough
        // that a tied output does not just repeat the input token.
        const auto keeps_scale = [](std::uint64_t cols) { return 1 / std::sqrt(double(cols)); };
        const double residual = std::sqrt(2.0 / spec_.n_layers);
        const auto name = [&](const char* part) { return fmt::format("blk.{}.{}", layer, part); };

        add_norm(name("attn_norm.weight"), dim);
        add_matrix(name("attn_q.weight"), dim, q_dim, keeps_scale(dim));
        add_matrix(name("attn_k.weight"), dim, kv_dim, keeps_scale(dim));
        add_matrix(name("attn_v.weight"), dim, kv_dim, keeps_scale(dim));
        add_matrix(name("attn_output.weight"), q_dim, dim, residual * keeps_scale(q_dim));
        if (spec_.architecture == "qwen2") {
            add_bias(name("attn_q.bias"), q_dim);
            add_bias(name("attn_k.bias"), kv_dim);
            add_bias(name("attn_v.bias"), kv_dim);
        }
        if (spec_.architecture == "qwen3") {
            add_norm(name("attn_q_norm.weight"), spec_.head_dim);
            add_norm(name("attn_k_norm.weight"), spec_.head_dim);
        }
        add_norm(name("ffn_norm.weight"), dim);
        add_matrix(name("ffn_gate.weight"), dim, spec_.ffn_dim, keeps_scale(dim));
        add_matrix(name("ffn_up.weight"), dim, spec_.ffn_dim, keeps_scale(dim));
        add_matrix(name("ffn_down.weight"), spec_.ffn_dim, dim, residual * keeps_scale(spec_.ffn_dim));
    }

    void add_matrix(std::string name, std::uint64_t cols, std::uint64_t rows, double deviation) {
        const auto type = choose_type(recipe_, name, cols, outline_, quantize::OutputMatrix::pure);
        tensors_.push_back({std::move(name), type, {cols, rows}, 0, static_cast<float>(deviation)});
    }

    void add_norm(std::string name, std::uint64_t size) {
        tensors_.push_back({std::move(name), TensorType::F32, {size}, 1.0f, 0.1f});
    }

    void add_bias(std::string name, std::uint64_t size) {
        tensors_.push_back({std::move(name), TensorType::F32, {size}, 0.0f, 0.2f});
    }

    const ModelSpec& spec_;
    const quantize::Recipe& recipe_;
    const quantize::ModelOutline outline_;
    std::vector<PlannedTensor> tensors_;
};

}  // namespace

std::vector<PlannedTensor> plan_tensors(const ModelSpec& spec) {
    return Planner(spec).plan();
}

}  // namespace vigil::synth
