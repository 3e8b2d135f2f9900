// synth_model: writes a GGUF model of given shape and tensor type with seeded random weights.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "bench/synth/model_spec.h"
#include "bench/synth/write_model.h"
#include "host/quantize/recipe.h"

namespace {

using vigil::synth::ModelSpec;
using vigil::synth::RopeScaling;

// What the command line says; what it does not say stays as in the preset.
struct Overrides {
    std::optional<std::string> architecture;
    std::optional<std::uint32_t> n_layers, dim, ffn_dim, n_heads, n_kv_heads, head_dim, vocab_size, max_seq_len;
    std::optional<std::uint32_t> rope_original_context;
    std::optional<bool> tied;
    std::optional<float> norm_eps, rope_theta, rope_factor;
    std::optional<RopeScaling> rope_scaling;
};

void add_shape_options(CLI::App& app, Overrides& overrides) {
    app.add_option("--arch", overrides.architecture, "llama, qwen2 or qwen3");
    app.add_option("--layers", overrides.n_layers, "Layers");
    app.add_option("--dim", overrides.dim, "Width of the residual");
    app.add_option("--ffn", overrides.ffn_dim, "Width of the feed-forward layer");
    app.add_option("--heads", overrides.n_heads, "Query heads");
    app.add_option("--kv-heads", overrides.n_kv_heads, "Key and value heads");
    app.add_option("--head-dim", overrides.head_dim, "Width of a head");
    app.add_option("--vocab", overrides.vocab_size, "Tokens in the vocabulary");
    app.add_option("--ctx", overrides.max_seq_len, "Context length in tokens");
    auto* tied = app.add_flag_callback(
        "--tied", [&] { overrides.tied = true; }, "The output matrix is the embedding");
    app.add_flag_callback(
           "--untied", [&] { overrides.tied = false; }, "The output matrix is its own")
        ->excludes(tied);
    app.add_option("--norm-eps", overrides.norm_eps, "Epsilon of RMSNorm");
    app.add_option("--rope-theta", overrides.rope_theta, "Base of RoPE's frequencies");
    app.add_option("--rope-scaling", overrides.rope_scaling, "none, linear, llama3 or yarn")
        ->transform(CLI::CheckedTransformer(std::map<std::string, RopeScaling>{{"none", RopeScaling::none},
                                                                               {"linear", RopeScaling::linear},
                                                                               {"llama3", RopeScaling::llama3},
                                                                               {"yarn", RopeScaling::yarn}}));
    app.add_option("--rope-factor", overrides.rope_factor, "Factor of the scaling");
    app.add_option("--rope-original-ctx", overrides.rope_original_context,
                   "Context length before scaling (llama3, yarn)");
}

template <typename T>
void apply(T& field, const std::optional<T>& value) {
    if (value) field = *value;
}

void apply(ModelSpec& spec, const Overrides& overrides) {
    apply(spec.architecture, overrides.architecture);
    apply(spec.n_layers, overrides.n_layers);
    apply(spec.dim, overrides.dim);
    apply(spec.ffn_dim, overrides.ffn_dim);
    apply(spec.n_heads, overrides.n_heads);
    apply(spec.n_kv_heads, overrides.n_kv_heads);
    apply(spec.head_dim, overrides.head_dim);
    apply(spec.vocab_size, overrides.vocab_size);
    apply(spec.max_seq_len, overrides.max_seq_len);
    apply(spec.tied, overrides.tied);
    apply(spec.norm_eps, overrides.norm_eps);
    apply(spec.rope_theta, overrides.rope_theta);
    apply(spec.rope_scaling, overrides.rope_scaling);
    apply(spec.rope_factor, overrides.rope_factor);
    apply(spec.rope_original_context, overrides.rope_original_context);
}

std::string names_of_presets() {
    std::string names = "Shapes to start from:";
    for (const auto& spec : vigil::synth::presets()) names += " " + spec.name;
    return names;
}

std::string names_of_types() {
    std::string names = "Tensor type of the matrices, or a mixture:";
    for (const auto& recipe : vigil::quantize::recipes()) names += " " + std::string(recipe.name);
    return names;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Writes a GGUF model with seeded random weights. Options change single numbers of a preset.");
    std::string output;
    std::string preset = "tiny";
    std::string type = "F16";
    std::uint64_t seed = 1;
    unsigned threads = 0;
    Overrides overrides;
    app.add_option("OUT", output, "File to write")->required();
    app.add_option("--preset", preset, names_of_presets())->capture_default_str();
    app.add_option("--type", type, names_of_types())->capture_default_str();
    app.add_option("--seed", seed, "Seed of the weights")->capture_default_str();
    app.add_option("--threads", threads, "Threads; 0: one per processor")->capture_default_str();
    add_shape_options(app, overrides);
    CLI11_PARSE(app, argc, argv);

    try {
        auto spec = vigil::synth::preset(preset);
        apply(spec, overrides);
        spec.type = type;
        spec.seed = seed;
        const auto start = std::chrono::steady_clock::now();
        vigil::synth::write_model(spec, output, threads);
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
        const auto bytes = static_cast<double>(std::filesystem::file_size(output));
        std::printf("%s: %.3f GB in %.2f s (%.2f GB/s)\n", output.c_str(), bytes * 1e-9, elapsed.count(),
                    bytes * 1e-9 / elapsed.count());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "synth_model: %s\n", error.what());
        return 1;
    }
    return 0;
}
