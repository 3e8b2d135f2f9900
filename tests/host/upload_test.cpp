// Uploads: what lies on the device equals what the file holds, for every type; bad shapes and values are refused.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "host/gguf/dequantize.h"
#include "host/model.h"
#include "tests/host/model_file.h"
#include "tests/host/synthetic_file.h"

namespace vigil::host {
namespace {

using test::message_of;
using test::ModelFile;
using test::open_synthetic;

std::vector<float> values_of(const gguf::TensorInfo& tensor) {
    std::vector<float> values(tensor.cols() * tensor.rows());
    gguf::dequantize(tensor.type, tensor.data, values);
    return values;
}

void check_matrix(Device& device, const gguf::File& file, const std::string& name, const device::Tensor& matrix) {
    CAPTURE(name);
    const gguf::TensorInfo& tensor = file.require_tensor(name);
    REQUIRE(matrix.cols == static_cast<std::int32_t>(tensor.cols()));
    REQUIRE(matrix.rows == static_cast<std::int32_t>(tensor.rows()));
    REQUIRE(reinterpret_cast<std::uintptr_t>(matrix.data) % 16 == 0);
    REQUIRE(device::matrix_bytes(matrix) == tensor.data.size());
    std::vector<std::byte> found(tensor.data.size());
    device.download(found.data(), matrix.data, found.size());
    CHECK(std::ranges::equal(found, tensor.data));
}

void check_vector(Device& device, const gguf::File& file, const std::string& name, const float* data) {
    CAPTURE(name);
    REQUIRE(data != nullptr);
    const std::vector<float> expected = values_of(file.require_tensor(name));
    std::vector<float> found(expected.size());
    device.download(found.data(), data, sizeof(float) * found.size());
    CHECK(found == expected);
}

std::vector<device::LayerWeights> layers_of(Device& device, const Model& model) {
    std::vector<device::LayerWeights> layers(static_cast<std::size_t>(model.config().n_layers));
    device.download(layers.data(), model.weights().layers, layers.size() * sizeof(layers[0]));
    return layers;
}

void check_everything(Device& device, const gguf::File& file, const Model& model) {
    check_matrix(device, file, "token_embd.weight", model.weights().token_embedding);
    check_vector(device, file, "output_norm.weight", model.weights().output_norm);
    const std::vector<device::LayerWeights> layers = layers_of(device, model);
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const device::LayerWeights& l = layers[i];
        const auto name = [&](const char* part) { return fmt::format("blk.{}.{}", i, part); };
        check_vector(device, file, name("attn_norm.weight"), l.attn_norm);
        check_matrix(device, file, name("attn_q.weight"), l.wq);
        check_matrix(device, file, name("attn_k.weight"), l.wk);
        check_matrix(device, file, name("attn_v.weight"), l.wv);
        check_matrix(device, file, name("attn_output.weight"), l.wo);
        check_vector(device, file, name("ffn_norm.weight"), l.ffn_norm);
        check_matrix(device, file, name("ffn_gate.weight"), l.w_gate);
        check_matrix(device, file, name("ffn_up.weight"), l.w_up);
        check_matrix(device, file, name("ffn_down.weight"), l.w_down);
    }
}

TEST_CASE("matrices of every type arrive byte for byte, and vectors as FP32") {
    const auto device = make_cpu_device(2);
    using device::TensorFormat;
    const std::pair<const char*, TensorFormat> types[] = {
        {"F32", TensorFormat::kF32},     {"F16", TensorFormat::kF16},       {"BF16", TensorFormat::kBF16},
        {"Q8_0", TensorFormat::kQ8_0},   {"Q4_0", TensorFormat::kQ4_0},     {"Q4_1", TensorFormat::kQ4_1},
        {"Q5_0", TensorFormat::kQ5_0},   {"Q5_1", TensorFormat::kQ5_1},     {"Q2_K", TensorFormat::kQ2_K},
        {"Q3_K", TensorFormat::kQ3_K},   {"Q4_K", TensorFormat::kQ4_K},     {"Q5_K", TensorFormat::kQ5_K},
        {"Q6_K", TensorFormat::kQ6_K},   {"IQ4_NL", TensorFormat::kIQ4_NL}, {"IQ4_XS", TensorFormat::kIQ4_XS},
        {"MXFP4", TensorFormat::kMXFP4},
    };
    for (const auto& [type, format] : types) {
        CAPTURE(std::string(type));
        synth::ModelSpec spec;
        spec.type = type;
        spec.max_seq_len = 64;
        const gguf::File file = open_synthetic(spec);
        const Model model(file, *device, 0);
        CHECK(model.weights().token_embedding.format == format);
        check_everything(*device, file, model);
        // Vectors beside the matrices take the same bytes: they are FP32 in the file.
        std::size_t in_file = 0;
        for (const gguf::TensorInfo& tensor : file.tensors()) in_file += tensor.data.size();
        CHECK(model.weight_bytes() == in_file);
    }
}

TEST_CASE("a device's block is as large as the file's") {
    using device::TensorFormat;
    const auto same = [](TensorFormat format, gguf::TensorType type) {
        const gguf::TypeTraits& traits = gguf::traits(type);
        return device::block_bytes(format) == static_cast<int>(traits.block_bytes) &&
               device::block_weights(format) == static_cast<int>(traits.block_weights) &&
               device::row_bytes(format, 512) == static_cast<int>(512 / traits.block_weights * traits.block_bytes);
    };
    CHECK(same(TensorFormat::kF32, gguf::TensorType::F32));
    CHECK(same(TensorFormat::kF16, gguf::TensorType::F16));
    CHECK(same(TensorFormat::kBF16, gguf::TensorType::BF16));
    CHECK(same(TensorFormat::kQ8_0, gguf::TensorType::Q8_0));
    CHECK(same(TensorFormat::kQ4_0, gguf::TensorType::Q4_0));
    CHECK(same(TensorFormat::kQ4_1, gguf::TensorType::Q4_1));
    CHECK(same(TensorFormat::kQ5_0, gguf::TensorType::Q5_0));
    CHECK(same(TensorFormat::kQ5_1, gguf::TensorType::Q5_1));
    CHECK(same(TensorFormat::kQ2_K, gguf::TensorType::Q2_K));
    CHECK(same(TensorFormat::kQ3_K, gguf::TensorType::Q3_K));
    CHECK(same(TensorFormat::kQ4_K, gguf::TensorType::Q4_K));
    CHECK(same(TensorFormat::kQ5_K, gguf::TensorType::Q5_K));
    CHECK(same(TensorFormat::kQ6_K, gguf::TensorType::Q6_K));
    CHECK(same(TensorFormat::kIQ4_NL, gguf::TensorType::IQ4_NL));
    CHECK(same(TensorFormat::kIQ4_XS, gguf::TensorType::IQ4_XS));
    CHECK(same(TensorFormat::kMXFP4, gguf::TensorType::MXFP4));
}

TEST_CASE("a model takes no more memory on the device than its file and two per cent") {
    const auto device = make_cpu_device(1);
    for (const char* type : {"F16", "F32", "Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "Q2_K"}) {
        CAPTURE(std::string(type));
        synth::ModelSpec spec;
        spec.type = type;
        spec.vocab_size = 4096;
        spec.max_seq_len = 64;
        const gguf::File file = open_synthetic(spec);
        const Model model(file, *device, 0);
        std::size_t in_file = 0;
        for (const gguf::TensorInfo& tensor : file.tensors()) in_file += tensor.data.size();
        CHECK(model.device_bytes() >= in_file);
        CHECK(model.device_bytes() <= in_file + in_file / 50);
    }
}

TEST_CASE("architectures bring their biases and norms") {
    const auto device = make_cpu_device(1);
    synth::ModelSpec spec;
    spec.max_seq_len = 64;
    spec.architecture = "qwen2";
    {
        const gguf::File file = open_synthetic(spec);
        const Model model(file, *device, 0);
        const device::LayerWeights layer = layers_of(*device, model)[1];
        check_vector(*device, file, "blk.1.attn_q.bias", layer.bq);
        check_vector(*device, file, "blk.1.attn_k.bias", layer.bk);
        check_vector(*device, file, "blk.1.attn_v.bias", layer.bv);
        CHECK(layer.q_norm == nullptr);
    }
    spec.architecture = "qwen3";
    {
        const gguf::File file = open_synthetic(spec);
        const Model model(file, *device, 0);
        const device::LayerWeights layer = layers_of(*device, model)[0];
        check_vector(*device, file, "blk.0.attn_q_norm.weight", layer.q_norm);
        check_vector(*device, file, "blk.0.attn_k_norm.weight", layer.k_norm);
        CHECK(layer.bq == nullptr);
    }
}

TEST_CASE("a model without an output matrix shares the embedding") {
    const auto device = make_cpu_device(1);
    synth::ModelSpec spec;
    spec.max_seq_len = 64;
    spec.tied = true;
    const gguf::File tied = open_synthetic(spec);
    const Model shared(tied, *device, 0);
    CHECK(shared.weights().output.data == shared.weights().token_embedding.data);
    spec.tied = false;
    const gguf::File untied = open_synthetic(spec);
    const Model own(untied, *device, 0);
    CHECK(own.weights().output.data != own.weights().token_embedding.data);
    check_matrix(*device, untied, "output.weight", own.weights().output);
    CHECK(own.weight_bytes() == shared.weight_bytes() + device::matrix_bytes(own.weights().output));
}

TEST_CASE("a tensor longer than one piece arrives whole") {
    const auto device = make_cpu_device(1);
    synth::ModelSpec spec;
    spec.type = "Q4_K";
    spec.max_seq_len = 64;
    spec.vocab_size = 9001;  // 9001 * 256 weights: two whole pieces and a rest
    const gguf::File file = open_synthetic(spec);
    const Model model(file, *device, 0);
    check_matrix(*device, file, "token_embd.weight", model.weights().token_embedding);
}

TEST_CASE("progress grows to the total") {
    const auto device = make_cpu_device(1);
    std::size_t last = 0;
    std::size_t total = 0;
    bool grows = true;
    const gguf::File file = ModelFile().open();
    const Model model(file, *device, 0, [&](std::size_t done, std::size_t all) {
        grows = grows && done > last;
        last = done;
        total = all;
    });
    CHECK(grows);
    CHECK(last == total);
    CHECK(total == model.weight_bytes());
}

TEST_CASE("matrices of F32 keep values that FP16 can't hold") {
    const auto device = make_cpu_device(1);
    ModelFile model;
    std::vector<float> values(16 * 24, 1.0f);
    values[37] = 70000.0f;
    model.tensors["blk.0.ffn_up.weight"].values = values;
    const gguf::File file = model.open();
    const Model uploaded(file, *device, 0);
    check_matrix(*device, file, "blk.0.ffn_up.weight", layers_of(*device, uploaded)[0].w_up);
}

TEST_CASE("an infinite or NaN weight is refused by tensor, place and value, also where nothing is converted") {
    const auto device = make_cpu_device(1);
    for (const float bad : {INFINITY, NAN}) {
        ModelFile model;
        std::vector<float> values(16, 1.0f);
        values[7] = bad;
        model.tensors["blk.0.ffn_norm.weight"].values = values;
        const gguf::File file = model.open();
        const std::string text = message_of<gguf::Error>([&] { Model(file, *device, 0); });
        CAPTURE(text);
        CHECK(text.find("blk.0.ffn_norm.weight") != std::string::npos);
        CHECK(text.find("weight 7 of type F32: the value is") != std::string::npos);
    }
}

TEST_CASE("norms keep values that FP16 can't hold") {
    const auto device = make_cpu_device(1);
    ModelFile model;
    model.tensors["output_norm.weight"].values = std::vector<float>(16, 1e6f);
    const gguf::File file = model.open();
    const Model uploaded(file, *device, 0);
    check_vector(*device, file, "output_norm.weight", uploaded.weights().output_norm);
}

TEST_CASE("a missing, misshapen or unknown tensor is refused by name and shape") {
    const auto device = make_cpu_device(1);
    const auto refusal = [&](const ModelFile& model) {
        const gguf::File file = model.open();
        return message_of<gguf::Error>([&] { Model(file, *device, 0); });
    };
    ModelFile missing;
    missing.tensors.erase("blk.0.ffn_gate.weight");
    CHECK(refusal(missing).find("blk.0.ffn_gate.weight") != std::string::npos);

    ModelFile transposed;
    transposed.tensors["blk.0.ffn_down.weight"] = {{16, 24}};
    const std::string text = refusal(transposed);
    CHECK(text.find("blk.0.ffn_down.weight") != std::string::npos);
    CHECK(text.find("[16, 24]") != std::string::npos);
    CHECK(text.find("[24, 16]") != std::string::npos);

    ModelFile short_norm;
    short_norm.tensors["output_norm.weight"] = {{8}};
    CHECK(refusal(short_norm).find("expected [16]") != std::string::npos);

    ModelFile with_bias;
    with_bias.tensors["blk.0.attn_output.bias"] = {{16}};
    CHECK(refusal(with_bias).find("blk.0.attn_output.bias") != std::string::npos);

    ModelFile no_bias;
    no_bias.architecture = "qwen2";
    CHECK(refusal(no_bias).find("blk.0.attn_q.bias") != std::string::npos);
}

TEST_CASE("a context that does not fit into memory is refused with the numbers and one that fits") {
    const auto device = make_cpu_device(1);
    ModelFile model;
    // 8 layers' worth of heads in one: 2^24 positions of 1024 KV heads take 512 GiB.
    model.keys["attention.head_count"] = 1024u;
    model.keys["attention.head_count_kv"] = 1024u;
    model.keys["attention.key_length"] = 64u;
    model.keys["attention.value_length"] = 64u;
    model.tensors["blk.0.attn_q.weight"] = {{16, 65536}};
    model.tensors["blk.0.attn_k.weight"] = {{16, 65536}};
    model.tensors["blk.0.attn_v.weight"] = {{16, 65536}};
    model.tensors["blk.0.attn_output.weight"] = {{65536, 16}};
    const gguf::File file = model.open();
    const std::string text = message_of<DeviceError>([&] { Model(file, *device, 1 << 24); });
    CAPTURE(text);
    CHECK(text.find("16777216 positions") != std::string::npos);
    CHECK(text.find("-c ") != std::string::npos);
}

}  // namespace
}  // namespace vigil::host
