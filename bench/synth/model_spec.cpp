#include "bench/synth/model_spec.h"

#include <algorithm>
#include <fmt/format.h>
#include <vector>

#include "bench/synth/vocabulary.h"
#include "host/quantize/recipe.h"

namespace vigil::synth {
namespace {

// Numbers from each model's config.json on Hugging Face.
std::vector<ModelSpec> make_presets() {
    std::vector<ModelSpec> all(5);
    all[1] = {.name = "smollm2-135m",
              .n_layers = 30,
              .dim = 576,
              .ffn_dim = 1536,
              .n_heads = 9,
              .n_kv_heads = 3,
              .head_dim = 64,
              .vocab_size = 49152,
              .max_seq_len = 8192,
              .rope_theta = 100000.0f};
    all[2] = {.name = "qwen3-0.6b",
              .architecture = "qwen3",
              .n_layers = 28,
              .dim = 1024,
              .ffn_dim = 3072,
              .n_heads = 16,
              .n_kv_heads = 8,
              .head_dim = 128,
              .vocab_size = 151936,
              .max_seq_len = 40960,
              .norm_eps = 1e-6f,
              .rope_theta = 1e6f};
    all[3] = {.name = "llama-3.2-1b",
              .n_layers = 16,
              .dim = 2048,
              .ffn_dim = 8192,
              .n_heads = 32,
              .n_kv_heads = 8,
              .head_dim = 64,
              .vocab_size = 128256,
              .max_seq_len = 131072,
              .rope_theta = 500000.0f,
              .rope_scaling = RopeScaling::llama3,
              .rope_factor = 32.0f,
              .rope_original_context = 8192};
    all[4] = {.name = "llama-3.1-8b",
              .n_layers = 32,
              .dim = 4096,
              .ffn_dim = 14336,
              .n_heads = 32,
              .n_kv_heads = 8,
              .head_dim = 128,
              .vocab_size = 128256,
              .max_seq_len = 131072,
              .tied = false,
              .rope_theta = 500000.0f,
              .rope_scaling = RopeScaling::llama3,
              .rope_factor = 8.0f,
              .rope_original_context = 8192};
    return all;
}

void require(bool condition, const std::string& problem) {
    if (!condition) throw Error(problem);
}

}  // namespace

std::span<const ModelSpec> presets() {
    static const std::vector<ModelSpec> all = make_presets();
    return all;
}

const ModelSpec& preset(std::string_view name) {
    const auto all = presets();
    const auto found = std::find_if(all.begin(), all.end(), [&](const ModelSpec& spec) { return spec.name == name; });
    if (found != all.end()) return *found;
    std::string names;
    for (const auto& spec : all) names += " " + spec.name;
    throw Error(fmt::format("no preset is called '{}'; there are:{}", name, names));
}

void validate(const ModelSpec& spec) {
    const auto& arch = spec.architecture;
    require(arch == "llama" || arch == "qwen2" || arch == "qwen3",
            fmt::format("architecture '{}' is none of llama, qwen2, qwen3", arch));
    if (quantize::find_recipe(spec.type) == nullptr) {
        std::string names;
        for (const auto& recipe : quantize::recipes()) names += fmt::format(" {}", recipe.name);
        throw Error(fmt::format("no type is called '{}'; there are:{}", spec.type, names));
    }
    for (const auto& [field, value] : {std::pair{"layers", spec.n_layers},
                                       {"dim", spec.dim},
                                       {"ffn", spec.ffn_dim},
                                       {"heads", spec.n_heads},
                                       {"kv-heads", spec.n_kv_heads},
                                       {"head-dim", spec.head_dim},
                                       {"ctx", spec.max_seq_len}}) {
        require(value >= 1 && value <= 1u << 24, fmt::format("{} is {}, not from 1 to 2^24", field, value));
    }
    require(spec.n_heads % spec.n_kv_heads == 0,
            fmt::format("{} heads are no multiple of {} kv-heads", spec.n_heads, spec.n_kv_heads));
    require(spec.head_dim % 2 == 0, fmt::format("head-dim {} is odd: RoPE turns pairs", spec.head_dim));
    require(spec.vocab_size >= least_vocab_size && spec.vocab_size <= 1u << 24,
            fmt::format("vocab {} is not from {} to 2^24", spec.vocab_size, least_vocab_size));
    require(spec.norm_eps > 0 && spec.rope_theta > 0 && spec.rope_factor > 0,
            "norm-eps, rope-theta and rope-factor must be greater than 0");
    require(spec.rope_original_context >= 1, "rope-original-ctx must be 1 or more");
    require(spec.rope_scaling != RopeScaling::llama3 || arch == "llama",
            fmt::format("rope-scaling llama3 is for architecture llama only, not {}", arch));
}

}  // namespace vigil::synth
