// The configuration read from metadata, and what is refused.
#include <cmath>
#include <doctest/doctest.h>

#include "host/model.h"
#include "tests/host/model_file.h"

namespace vigil::host {
namespace {

using test::message_of;
using test::ModelFile;

std::string refusal(const ModelFile& model, std::int32_t max_seq_len = 0) {
    const gguf::File file = model.open();
    return message_of<gguf::Error>([&] { read_config(file, max_seq_len); });
}

std::string refusal(const std::string& key, const test::KeyData& value) {
    ModelFile model;
    model.keys[key] = value;
    return refusal(model);
}

void check_names(const std::string& text, std::initializer_list<const char*> parts) {
    CAPTURE(text);
    for (const char* part : parts) {
        CAPTURE(part);
        CHECK(text.find(part) != std::string::npos);
    }
}

TEST_CASE("the numbers of a llama model") {
    const device::ModelConfig c = read_config(ModelFile().open(), 0);
    CHECK(c.n_layers == 1);
    CHECK(c.dim == 16);
    CHECK(c.ffn_dim == 24);
    CHECK(c.n_heads == 2);
    CHECK(c.n_kv_heads == 1);
    CHECK(c.head_dim == 8);
    CHECK(c.rotary_dim == 8);
    CHECK(c.vocab_size == 10);
    CHECK(c.max_seq_len == 32);
    CHECK(c.rope_kind == device::RopeKind::kInterleaved);
    CHECK(c.rope_scale == 1.0f);
    CHECK(c.norm_eps == 1e-5f);
    CHECK(c.attention_scale == doctest::Approx(1.0 / std::sqrt(8.0)));
}

TEST_CASE("qwen models rotate halves, and heads may be wider than their share") {
    for (const char* name : {"qwen2", "qwen3"}) {
        ModelFile model;
        model.architecture = name;
        model.keys["attention.key_length"] = 128u;
        model.keys["attention.value_length"] = 128u;
        model.keys["rope.dimension_count"] = 64u;
        const device::ModelConfig c = read_config(model.open(), 0);
        CHECK(c.rope_kind == device::RopeKind::kHalves);
        CHECK(c.head_dim == 128);
        CHECK(c.rotary_dim == 64);
    }
}

TEST_CASE("the context is the model's unless one is asked for") {
    CHECK(read_config(ModelFile().open(), 0).max_seq_len == 32);
    CHECK(read_config(ModelFile().open(), 7).max_seq_len == 7);
    check_names(refusal(ModelFile(), -1), {"-1"});
}

TEST_CASE("without a number of KV heads every head has its own") {
    ModelFile model;
    model.keys.erase("attention.head_count_kv");
    CHECK(read_config(model.open(), 0).n_kv_heads == 2);
}

TEST_CASE("an unknown architecture is refused with the list of those that work") {
    ModelFile model;
    model.architecture = "gemma3";
    check_names(refusal(model), {"model.gguf", "general.architecture", "'gemma3'", "llama", "qwen2", "qwen3"});
}

TEST_CASE("numbers out of range are refused by key and value") {
    check_names(refusal("block_count", 0u), {"llama.block_count", "0"});
    check_names(refusal("block_count", 4000000000u), {"llama.block_count", "4000000000"});
    check_names(refusal("embedding_length", 20u), {"llama.embedding_length", "20", "multiple of 8"});
    check_names(refusal("feed_forward_length", 25u), {"llama.feed_forward_length", "25", "multiple of 8"});
    check_names(refusal("attention.head_count_kv", 3u), {"llama.attention.head_count_kv", "3", "2"});
    check_names(refusal("attention.head_count", 5u), {"llama.attention.head_count"});
    check_names(refusal("attention.head_count", 0u), {"llama.attention.head_count", "0"});
    check_names(refusal("attention.key_length", 512u), {"llama.attention.key_length", "512"});
    check_names(refusal("attention.value_length", 16u), {"llama.attention.value_length", "16", "8"});
    check_names(refusal("rope.dimension_count", 16u), {"llama.rope.dimension_count", "16"});
    check_names(refusal("rope.dimension_count", 7u), {"llama.rope.dimension_count", "7"});
    check_names(refusal("context_length", 0u), {"llama.context_length", "0"});
    check_names(refusal("attention.layer_norm_rms_epsilon", 0.0f), {"llama.attention.layer_norm_rms_epsilon", "0"});
    check_names(refusal("attention.layer_norm_rms_epsilon", std::nanf("")), {"layer_norm_rms_epsilon", "nan"});
}

TEST_CASE("a head that is no multiple of 8 is refused") {
    ModelFile model;
    model.keys["attention.key_length"] = 12u;
    model.keys["attention.value_length"] = 12u;
    check_names(refusal(model), {"llama.attention.key_length", "12"});
}

TEST_CASE("a missing number is an error that names its key") {
    for (const char* key : {"block_count", "embedding_length", "attention.layer_norm_rms_epsilon"}) {
        ModelFile model;
        model.keys.erase(key);
        check_names(refusal(model), {key});
    }
}

TEST_CASE("numbers per layer are taken if they are all the same") {
    ModelFile model;
    model.keys["attention.head_count_kv"] = std::vector<std::int32_t>{2, 2, 2};
    CHECK(read_config(model.open(), 0).n_kv_heads == 2);
    model.keys["attention.head_count_kv"] = std::vector<std::int32_t>{2, 2, 1};
    check_names(refusal(model), {"llama.attention.head_count_kv", "layer 2"});
    model.keys["attention.head_count_kv"] = std::vector<std::int32_t>{};
    check_names(refusal(model), {"llama.attention.head_count_kv", "empty"});
}

TEST_CASE("mixtures of experts are refused") {
    check_names(refusal("expert_count", 8u), {"llama.expert_count", "8", "mixture"});
    ModelFile dense;
    dense.keys["expert_count"] = 0u;
    CHECK_NOTHROW(read_config(dense.open(), 0));
}

TEST_CASE("a sliding window is refused only where it would show") {
    ModelFile model;
    model.keys["attention.sliding_window"] = 16u;
    check_names(refusal(model), {"sliding_window", "16", "32", "-c 16"});
    CHECK(read_config(model.open(), 16).max_seq_len == 16);
}

TEST_CASE("the embedding must be as wide as the model") {
    ModelFile model;
    model.tensors["token_embd.weight"] = {{24, 10}};
    check_names(refusal(model), {"token_embd.weight", "[24, 10]", "16"});
    model.tensors.erase("token_embd.weight");
    check_names(refusal(model), {"token_embd.weight"});
}

}  // namespace
}  // namespace vigil::host
