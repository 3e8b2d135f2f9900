// The model maker: real shapes, valid files of every architecture and type, and the same bytes on every run.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <set>
#include <vector>

#include "bench/synth/tensor_plan.h"
#include "bench/synth/vocabulary.h"
#include "bench/synth/write_model.h"
#include "host/gguf/dequantize.h"
#include "host/gguf/gguf.h"
#include "host/quantize/recipe.h"
#include "tests/gguf/temporary_folder.h"

using namespace vigil;
using namespace vigil::test;
using doctest::Contains;
using gguf::TensorType;
using synth::ModelSpec;

namespace {

std::uint64_t parameter_count(const ModelSpec& spec) {
    std::uint64_t count = 0;
    for (const auto& tensor : synth::plan_tensors(spec)) {
        if (tensor.values.empty()) {
            count += std::accumulate(tensor.dims.begin(), tensor.dims.end(), std::uint64_t{1}, std::multiplies<>());
        }
    }
    return count;
}

TensorType type_of(const std::vector<synth::PlannedTensor>& tensors, const std::string& name) {
    const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; });
    REQUIRE_MESSAGE(found != tensors.end(), name);
    return found->type;
}

std::vector<synth::PlannedTensor> plan(std::string_view preset, const std::string& type) {
    auto spec = synth::preset(preset);
    spec.type = type;
    return synth::plan_tensors(spec);
}

struct Spread {
    double mean;
    double deviation;
    double largest;
};

Spread spread(const gguf::TensorInfo& tensor) {
    std::vector<float> weights(tensor.cols() * tensor.rows());
    gguf::dequantize(tensor.type, tensor.data, weights);
    double sum = 0;
    double squares = 0;
    double largest = 0;
    for (const double weight : weights) {
        sum += weight;
        squares += weight * weight;
        largest = std::max(largest, std::abs(weight));
    }
    const double mean = sum / double(weights.size());
    return {mean, std::sqrt(squares / double(weights.size()) - mean * mean), largest};
}

}  // namespace

TEST_CASE("the presets have as many parameters as the published models") {
    CHECK(parameter_count(synth::preset("smollm2-135m")) == 134515008);
    CHECK(parameter_count(synth::preset("qwen3-0.6b")) == 596049920);
    CHECK(parameter_count(synth::preset("llama-3.2-1b")) == 1235814400);
    CHECK(parameter_count(synth::preset("llama-3.1-8b")) == 8030261248);
}

TEST_CASE("a model of every architecture and type is written and read") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "tiny.gguf";
    for (const std::string architecture : {"llama", "qwen2", "qwen3"}) {
        for (const auto& recipe : quantize::recipes()) {
            CAPTURE(architecture);
            CAPTURE(recipe.name);
            ModelSpec spec;
            spec.architecture = architecture;
            spec.type = recipe.name;
            synth::write_model(spec, path);
            const auto file = gguf::File::open(path);
            CHECK(file.require_string("general.architecture") == architecture);
            CHECK(file.require_u32("general.file_type") == recipe.file_type);
            CHECK(file.require_u32(architecture + ".block_count") == 2);
            CHECK(file.require_u32(architecture + ".attention.head_count_kv") == 2);
            CHECK(file.require_array("tokenizer.ggml.tokens").size() == 512);
            const auto& query = file.require_tensor("blk.1.attn_q.weight");
            CHECK(query.type == recipe.base);
            CHECK(query.cols() == 256);
            CHECK(query.rows() == 256);
            CHECK(file.require_tensor("blk.0.attn_norm.weight").type == TensorType::F32);
            CHECK(file.find_tensor("output.weight") == nullptr);
            CHECK((file.find_tensor("blk.0.attn_v.bias") != nullptr) == (architecture == "qwen2"));
            CHECK((file.find_tensor("blk.0.attn_q_norm.weight") != nullptr) == (architecture == "qwen3"));
        }
    }
}

TEST_CASE("weights of every type have the planned spread") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "tiny.gguf";
    for (const auto& recipe : quantize::recipes()) {
        CAPTURE(recipe.name);
        ModelSpec spec;
        spec.type = recipe.name;
        spec.tied = false;
        synth::write_model(spec, path);
        const auto file = gguf::File::open(path);
        for (const auto& planned : synth::plan_tensors(spec)) {
            if (planned.dims.size() < 2) continue;
            CAPTURE(planned.name);
            const auto found = spread(file.require_tensor(planned.name));
            CHECK(std::abs(found.mean) < 0.02 * planned.deviation);
            CHECK(found.deviation == doctest::Approx(planned.deviation).epsilon(0.05));
            CHECK(found.largest < 5 * planned.deviation);
        }
        const auto norm = spread(file.require_tensor("blk.0.ffn_norm.weight"));
        CHECK(norm.mean == doctest::Approx(1.0).epsilon(0.05));
        CHECK(norm.deviation == doctest::Approx(0.1).epsilon(0.2));
    }
}

TEST_CASE("the same seed gives the same bytes for any number of threads, another seed gives others") {
    const TemporaryFolder folder;
    ModelSpec spec;
    spec.type = "Q4_K_M";
    spec.vocab_size = 12000;  // more than one piece of work for the embedding
    const auto bytes = [&](unsigned threads) {
        const auto path = folder.path() / "m.gguf";
        synth::write_model(spec, path, threads);
        return read_file(path);
    };
    const auto one = bytes(1);
    CHECK(bytes(3) == one);
    CHECK(bytes(0) == one);
    spec.seed = 2;
    CHECK(bytes(1) != one);
}

TEST_CASE("no two tensors of a model hold the same numbers") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "m.gguf";
    synth::write_model({}, path);
    const auto file = gguf::File::open(path);
    std::set<std::string> starts;
    for (const auto& tensor : file.tensors()) {
        const auto start = tensor.data.first(32);
        starts.emplace(reinterpret_cast<const char*>(start.data()), start.size());
    }
    CHECK(starts.size() == file.tensors().size());
}

TEST_CASE("Q4_K_M gives more bits to the output and to llama.cpp's choice of layers") {
    const auto tensors = plan("llama-3.2-1b", "Q4_K_M");
    CHECK(type_of(tensors, "token_embd.weight") == TensorType::Q6_K);  // tied: it is the output
    const std::set<int> with_more{0, 1, 4, 7, 10, 13, 14, 15};
    for (int layer = 0; layer < 16; ++layer) {
        CAPTURE(layer);
        const auto prefix = "blk." + std::to_string(layer) + ".";
        const auto expected = with_more.contains(layer) ? TensorType::Q6_K : TensorType::Q4_K;
        CHECK(type_of(tensors, prefix + "attn_v.weight") == expected);
        CHECK(type_of(tensors, prefix + "ffn_down.weight") == expected);
        CHECK(type_of(tensors, prefix + "attn_k.weight") == TensorType::Q4_K);
        CHECK(type_of(tensors, prefix + "ffn_up.weight") == TensorType::Q4_K);
    }
    const auto untied = plan("llama-3.1-8b", "Q4_K_M");
    CHECK(type_of(untied, "token_embd.weight") == TensorType::Q4_K);
    CHECK(type_of(untied, "output.weight") == TensorType::Q6_K);
}

TEST_CASE("columns that no K block fits fall back to smaller blocks") {
    const auto tensors = plan("smollm2-135m", "Q4_K_M");  // 576 columns, 1536 in ffn_down
    CHECK(type_of(tensors, "token_embd.weight") == TensorType::Q8_0);
    CHECK(type_of(tensors, "blk.3.attn_q.weight") == TensorType::Q5_0);
    CHECK(type_of(tensors, "blk.3.ffn_down.weight") == TensorType::Q4_K);
    CHECK(type_of(plan("smollm2-135m", "Q5_K"), "blk.3.attn_q.weight") == TensorType::Q5_1);
    ModelSpec odd;
    odd.dim = 80 * 3;
    odd.type = "Q8_0";
    CHECK(type_of(synth::plan_tensors(odd), "blk.0.attn_q.weight") == TensorType::F16);
}

TEST_CASE("Llama 3's scaling is a tensor of divisors, linear and YaRN are keys") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "m.gguf";
    ModelSpec spec;
    spec.rope_theta = 500000;
    spec.rope_scaling = synth::RopeScaling::llama3;
    spec.rope_factor = 32;
    spec.rope_original_context = 8192;
    synth::write_model(spec, path);
    {
        const auto file = gguf::File::open(path);
        const auto& divisors = file.require_tensor("rope_freqs.weight");
        REQUIRE(divisors.cols() == 32);
        std::vector<float> values(32);
        gguf::dequantize(divisors.type, divisors.data, values);
        // 500000^(-i/32) over the frequencies of transformers' ROPE_INIT_FUNCTIONS["llama3"] with these numbers.
        for (std::size_t i = 0; i < 15; ++i) CHECK(values[i] == 1.0f);
        CHECK(values[15] == doctest::Approx(1.65132914).epsilon(1e-6));
        CHECK(values[16] == doctest::Approx(3.2922628).epsilon(1e-6));
        CHECK(values[17] == doctest::Approx(9.66673054).epsilon(1e-6));
        for (std::size_t i = 18; i < 32; ++i) CHECK(values[i] == 32.0f);
        CHECK(file.find("llama.rope.scaling.type") == nullptr);
    }
    spec.rope_scaling = synth::RopeScaling::yarn;
    synth::write_model(spec, path);
    {
        const auto file = gguf::File::open(path);
        CHECK(file.require_string("llama.rope.scaling.type") == "yarn");
        CHECK(file.require_f32("llama.rope.scaling.factor") == 32.0f);
        CHECK(file.require_u32("llama.rope.scaling.original_context_length") == 8192);
        CHECK(file.find_tensor("rope_freqs.weight") == nullptr);
    }
    spec.rope_scaling = synth::RopeScaling::linear;
    synth::write_model(spec, path);
    CHECK(gguf::File::open(path).require_string("llama.rope.scaling.type") == "linear");
}

TEST_CASE("the vocabulary is complete and its merges can be applied") {
    const auto vocabulary = synth::make_vocabulary(400);
    CHECK(vocabulary.tokens.size() == 400);
    CHECK(vocabulary.types.size() == 400);
    const std::set<std::string> known(vocabulary.tokens.begin(), vocabulary.tokens.end());
    CHECK(known.size() == 400);
    for (const auto& merge : vocabulary.merges) {
        CAPTURE(merge);
        const auto space = merge.find(' ');
        REQUIRE(space != std::string::npos);
        const auto left = merge.substr(0, space);
        const auto right = merge.substr(space + 1);
        CHECK(known.contains(left));
        CHECK(known.contains(right));
        CHECK(known.contains(left + right));
    }
    CHECK(vocabulary.tokens[vocabulary.end_of_text] == "<|endoftext|>");
}

TEST_CASE("a model that cannot be is refused") {
    const auto fails = [](auto change, const char* message) {
        ModelSpec spec;
        change(spec);
        CHECK_THROWS_WITH_AS(synth::validate(spec), Contains(message), synth::Error);
    };
    CHECK_NOTHROW(synth::validate(ModelSpec{}));
    for (const auto& spec : synth::presets()) CHECK_NOTHROW(synth::validate(spec));
    fails([](ModelSpec& s) { s.architecture = "gemma"; }, "architecture 'gemma'");
    fails([](ModelSpec& s) { s.type = "Q9"; }, "no type is called 'Q9'; there are: F32 F16");
    fails([](ModelSpec& s) { s.n_heads = 5; }, "5 heads are no multiple of 2 kv-heads");
    fails([](ModelSpec& s) { s.n_kv_heads = 0; }, "kv-heads is 0");
    fails([](ModelSpec& s) { s.dim = ~0u; }, "dim is 4294967295");
    fails([](ModelSpec& s) { s.head_dim = 63; }, "head-dim 63 is odd");
    fails([](ModelSpec& s) { s.vocab_size = 300; }, "vocab 300");
    fails([](ModelSpec& s) { s.rope_theta = NAN; }, "rope-theta");
    fails(
        [](ModelSpec& s) {
            s.architecture = "qwen3";
            s.rope_scaling = synth::RopeScaling::llama3;
        },
        "llama3 is for architecture llama only");
    CHECK_THROWS_WITH_AS(synth::preset("gpt-5"), Contains("no preset is called 'gpt-5'; there are: tiny"),
                         synth::Error);
    CHECK_THROWS_WITH_AS(synth::write_model({}, "/no/such/folder/m.gguf"), Contains("No such file or directory"),
                         gguf::Error);
}
