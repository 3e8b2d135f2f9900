#include "bench/synth/write_model.h"

#include <algorithm>
#include <span>
#include <vector>

#include "bench/synth/random_weights.h"
#include "bench/synth/tensor_plan.h"
#include "bench/synth/vocabulary.h"
#include "host/gguf/writer.h"
#include "host/quantize/pieces.h"
#include "host/quantize/recipe.h"

namespace vigil::synth {
namespace {

void write_hyperparameters(gguf::Writer& writer, const ModelSpec& spec) {
    writer.set_string("general.architecture", spec.architecture);
    writer.set_string("general.type", "model");
    writer.set_string("general.name", "synthetic " + spec.name);
    writer.set_u32("general.file_type", quantize::find_recipe(spec.type)->file_type);
    writer.set_u32("general.quantization_version", 2);

    const auto key = [&](const char* name) { return spec.architecture + "." + name; };
    writer.set_u32(key("block_count"), spec.n_layers);
    writer.set_u32(key("context_length"), spec.max_seq_len);
    writer.set_u32(key("embedding_length"), spec.dim);
    writer.set_u32(key("feed_forward_length"), spec.ffn_dim);
    writer.set_u32(key("attention.head_count"), spec.n_heads);
    writer.set_u32(key("attention.head_count_kv"), spec.n_kv_heads);
    writer.set_u32(key("attention.key_length"), spec.head_dim);
    writer.set_u32(key("attention.value_length"), spec.head_dim);
    writer.set_f32(key("attention.layer_norm_rms_epsilon"), spec.norm_eps);
    writer.set_u32(key("vocab_size"), spec.vocab_size);
    writer.set_f32(key("rope.freq_base"), spec.rope_theta);
    writer.set_u32(key("rope.dimension_count"), spec.head_dim);
    // Llama 3's scaling is the tensor rope_freqs.weight and has no keys.
    if (spec.rope_scaling == RopeScaling::linear || spec.rope_scaling == RopeScaling::yarn) {
        const bool yarn = spec.rope_scaling == RopeScaling::yarn;
        writer.set_string(key("rope.scaling.type"), yarn ? "yarn" : "linear");
        writer.set_f32(key("rope.scaling.factor"), spec.rope_factor);
        if (yarn) writer.set_u32(key("rope.scaling.original_context_length"), spec.rope_original_context);
    }
}

void write_vocabulary(gguf::Writer& writer, const ModelSpec& spec) {
    const auto vocabulary = make_vocabulary(spec.vocab_size);
    writer.set_string("tokenizer.ggml.model", "gpt2");
    writer.set_string("tokenizer.ggml.pre", spec.architecture == "llama" ? "gpt-2" : "qwen2");
    writer.set_strings("tokenizer.ggml.tokens", vocabulary.tokens);
    writer.set_i32s("tokenizer.ggml.token_type", vocabulary.types);
    writer.set_strings("tokenizer.ggml.merges", vocabulary.merges);
    writer.set_u32("tokenizer.ggml.bos_token_id", vocabulary.end_of_text);
    writer.set_u32("tokenizer.ggml.eos_token_id", vocabulary.end_of_turn);
    writer.set_u32("tokenizer.ggml.padding_token_id", vocabulary.end_of_text);
    writer.set_bool("tokenizer.ggml.add_bos_token", false);
}

// A part of a tensor that one thread makes in one go.
struct Piece {
    std::size_t tensor;
    std::uint64_t first_group;
    std::uint64_t offset;
    std::uint64_t size;
};

std::vector<Piece> cut_into_pieces(const gguf::Writer& writer, std::span<const PlannedTensor> tensors) {
    constexpr std::uint64_t piece_groups = 4096;  // 2 MiB of F16: large for a write, small for a cache
    std::vector<Piece> pieces;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const std::uint64_t piece_bytes = piece_groups * group_bytes(tensors[i].type);
        const std::uint64_t size = writer.tensor_bytes(i);
        for (std::uint64_t at = 0, group = 0; at < size; at += piece_bytes, group += piece_groups) {
            pieces.push_back({i, group, at, std::min(piece_bytes, size - at)});
        }
    }
    return pieces;
}

void write_piece(gguf::Writer& writer, std::span<const PlannedTensor> tensors, std::uint64_t seed, const Piece& piece,
                 std::vector<std::byte>& buffer) {
    const auto& tensor = tensors[piece.tensor];
    if (!tensor.values.empty()) {
        const auto values = std::as_bytes(std::span(tensor.values));
        writer.write(piece.tensor, piece.offset, values.subspan(piece.offset, piece.size));
        return;
    }
    buffer.resize(piece.size);
    fill_random(tensor.type, {tensor.mean, tensor.deviation}, tensor_key(seed, tensor.name), piece.first_group, buffer);
    writer.write(piece.tensor, piece.offset, buffer);
}

}  // namespace

void write_model(const ModelSpec& spec, const std::filesystem::path& path, unsigned threads) {
    validate(spec);
    const auto tensors = plan_tensors(spec);
    gguf::Writer writer(path);
    write_hyperparameters(writer, spec);
    write_vocabulary(writer, spec);
    for (const auto& tensor : tensors) writer.add_tensor(tensor.name, tensor.type, tensor.dims);
    writer.begin_data();
    const auto pieces = cut_into_pieces(writer, tensors);
    quantize::for_each_piece(pieces.size(), threads, [&] {
        return [&, buffer = std::vector<std::byte>()](std::size_t i) mutable {
            write_piece(writer, tensors, spec.seed, pieces[i], buffer);
        };
    });
    writer.finish();
}

}  // namespace vigil::synth
