// What a synthetic model looks like: its architecture, shapes, tensor types and seed.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace vigil::synth {

class Error : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

enum class RopeScaling { none, linear, llama3, yarn };

// Names as in ModelConfig. The defaults are the preset `tiny`: as small as a model can be whose every matrix can have
// every tensor type (columns in multiples of 256) and whose heads are the smallest the kernels promise.
struct ModelSpec {
    std::string name = "tiny";
    std::string architecture = "llama";  // llama, qwen2 (bias on q, k, v) or qwen3 (norms on q and k)
    std::uint32_t n_layers = 2;
    std::uint32_t dim = 256;
    std::uint32_t ffn_dim = 768;
    std::uint32_t n_heads = 4;
    std::uint32_t n_kv_heads = 2;
    std::uint32_t head_dim = 64;
    std::uint32_t vocab_size = 512;
    std::uint32_t max_seq_len = 4096;
    bool tied = true;  // the output matrix is the embedding
    float norm_eps = 1e-5f;
    float rope_theta = 10000.0f;
    RopeScaling rope_scaling = RopeScaling::none;
    float rope_factor = 8.0f;                    // linear, llama3, yarn
    std::uint32_t rope_original_context = 1024;  // llama3, yarn: context length before scaling, in tokens
    std::string type = "F16";  // a tensor type for all matrices, or a mixture (host/quantize/recipe.h)
    std::uint64_t seed = 1;
};

// The shapes of published models, and `tiny`.
std::span<const ModelSpec> presets();

// Throws Error with the names there are if `name` is none of them.
const ModelSpec& preset(std::string_view name);

// Throws Error if no model can have these numbers.
void validate(const ModelSpec& spec);

}  // namespace vigil::synth
