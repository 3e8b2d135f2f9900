#include "host/tokenizer/gguf_spec.h"

#include <string_view>

namespace vigil {
namespace {

// The key's array as a vector, each element read by `element(array, i)`; nothing if the key is missing.
template <class T, class Element>
std::optional<std::vector<T>> read_array(const gguf::File& file, std::string_view key, Element element) {
    const gguf::Array* array = file.find_array(key);
    if (!array) return std::nullopt;
    std::vector<T> out;
    out.reserve(array->size());
    for (std::size_t i = 0; i < array->size(); ++i) out.push_back(element(*array, i));
    return out;
}

std::optional<std::vector<std::string>> read_strings(const gguf::File& file, std::string_view key) {
    return read_array<std::string>(
        file, key, [](const gguf::Array& array, std::size_t i) { return std::string(array.string(i)); });
}

std::optional<std::uint32_t> read_id(const gguf::File& file, std::string_view key) {
    if (!file.find(key)) return std::nullopt;
    return file.require_u32(key);
}

std::optional<bool> read_flag(const gguf::File& file, std::string_view key) {
    if (!file.find(key)) return std::nullopt;
    return file.get_bool(key, false);
}

}  // namespace

TokenizerSpec read_tokenizer_spec(const gguf::File& file) {
    TokenizerSpec spec;
    spec.model = file.require_string("tokenizer.ggml.model");
    if (file.find("tokenizer.ggml.pre")) spec.pre = file.require_string("tokenizer.ggml.pre");
    auto tokens = read_strings(file, "tokenizer.ggml.tokens");
    if (!tokens) throw file.error("metadata key 'tokenizer.ggml.tokens' is missing");
    spec.tokens = std::move(*tokens);
    spec.token_type = read_array<std::int64_t>(
        file, "tokenizer.ggml.token_type", [](const gguf::Array& array, std::size_t i) { return array.integer(i); });
    spec.scores = read_array<double>(file, "tokenizer.ggml.scores",
                                     [](const gguf::Array& array, std::size_t i) { return array.floating(i); });
    spec.merges = read_strings(file, "tokenizer.ggml.merges");
    spec.bos_token_id = read_id(file, "tokenizer.ggml.bos_token_id");
    spec.eos_token_id = read_id(file, "tokenizer.ggml.eos_token_id");
    spec.eot_token_id = read_id(file, "tokenizer.ggml.eot_token_id");
    spec.eom_token_id = read_id(file, "tokenizer.ggml.eom_token_id");
    spec.unknown_token_id = read_id(file, "tokenizer.ggml.unknown_token_id");
    spec.fim_pad_token_id = read_id(file, "tokenizer.ggml.fim_pad_token_id");
    spec.fim_rep_token_id = read_id(file, "tokenizer.ggml.fim_rep_token_id");
    spec.fim_sep_token_id = read_id(file, "tokenizer.ggml.fim_sep_token_id");
    spec.add_bos_token = read_flag(file, "tokenizer.ggml.add_bos_token");
    spec.add_eos_token = read_flag(file, "tokenizer.ggml.add_eos_token");
    spec.add_space_prefix = read_flag(file, "tokenizer.ggml.add_space_prefix");
    return spec;
}

}  // namespace vigil
