// Quantising whole files: what changes and what must not, split sets, every refusal, and that nothing is left behind.
#include <algorithm>
#include <cstring>
#include <doctest/doctest.h>
#include <filesystem>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "bench/synth/model_spec.h"
#include "bench/synth/write_model.h"
#include "host/gguf/dequantize.h"
#include "host/gguf/writer.h"
#include "host/quantize/quantize_file.h"
#include "tests/gguf/temporary_folder.h"
#include "tests/quantize/round_trip.h"

using namespace vigil;
using namespace vigil::test;
using doctest::Contains;
using gguf::TensorType;

namespace {

using Path = std::filesystem::path;

const quantize::Recipe& recipe(std::string_view name) {
    return *quantize::find_recipe(name);
}

quantize::FileSummary quantize_to(const Path& in, const Path& out, std::string_view type,
                                  const quantize::FileOptions& options = {}) {
    const auto summary = quantize::quantize_file(in, out, recipe(type), options, nullptr);
    REQUIRE(summary.has_value());
    return *summary;
}

Path synthetic(const TemporaryFolder& folder, const std::string& name, const synth::ModelSpec& spec) {
    const auto path = folder.path() / name;
    synth::write_model(spec, path);
    return path;
}

// Writes `file` anew; `change` may give other metadata or data.
void rewrite(const gguf::File& file, const Path& path, std::uint32_t alignment,
             const std::function<void(gguf::Writer&)>& add_keys,
             const std::function<bool(const gguf::TensorInfo&)>& chosen,
             const std::function<void(const gguf::TensorInfo&, std::vector<std::byte>&)>& change) {
    gguf::Writer writer(path, alignment);
    for (const auto& entry : file.metadata()) writer.copy(entry);
    add_keys(writer);
    std::vector<const gguf::TensorInfo*> tensors;
    for (const auto& tensor : file.tensors()) {
        if (chosen(tensor)) tensors.push_back(&tensor);
    }
    for (const auto* tensor : tensors) writer.add_tensor(tensor->name, tensor->type, tensor->dims);
    writer.begin_data();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        std::vector<std::byte> data(tensors[i]->data.begin(), tensors[i]->data.end());
        change(*tensors[i], data);
        writer.write(i, 0, data);
    }
    writer.finish();
}

constexpr auto no_keys = [](gguf::Writer&) {};
constexpr auto all_tensors = [](const gguf::TensorInfo&) { return true; };
constexpr auto no_change = [](const gguf::TensorInfo&, std::vector<std::byte>&) {};

// Splits a model in two: the tensors of layer 0 stand in the second file.
Path split_in_two(const gguf::File& file, const TemporaryFolder& folder) {
    for (std::uint16_t number = 0; number < 2; ++number) {
        const auto add_keys = [&](gguf::Writer& writer) {
            writer.set_u16("split.no", number);
            writer.set_u16("split.count", 2);
            writer.set_i32("split.tensors.count", static_cast<std::int32_t>(file.tensors().size()));
        };
        const auto chosen = [&](const gguf::TensorInfo& t) { return t.name.starts_with("blk.0.") == (number == 1); };
        const auto name = "split-0000" + std::to_string(number + 1) + "-of-00002.gguf";
        rewrite(file, folder.path() / name, 32, add_keys, chosen, no_change);
    }
    return folder.path() / "split-00001-of-00002.gguf";
}

std::vector<float> values_of(const gguf::TensorInfo& tensor) {
    std::vector<float> values(tensor.cols() * tensor.rows());
    gguf::dequantize(tensor.type, tensor.data, values);
    return values;
}

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

TEST_CASE("every type and mixture: matrices by the recipe, everything else as it was") {
    const TemporaryFolder folder;
    synth::ModelSpec spec;
    spec.architecture = "qwen2";  // has biases
    spec.tied = false;
    spec.ffn_dim = 256;
    spec.n_layers = 1;
    for (const char* source_type : {"F32", "F16", "BF16"}) {
        spec.type = source_type;
        const auto in = synthetic(folder, "in.gguf", spec);
        const auto source = gguf::File::open(in);
        const quantize::ModelOutline model{.n_layers = 1, .tied = false, .grouped_heads = true};
        for (const auto& wanted : quantize::recipes()) {
            // The source's type makes a difference to the reading alone.
            const bool is_tried = spec.type == "F16" || wanted.name == "Q4_1" || wanted.name == spec.type;
            if (!is_tried || !quantize::can_pack(wanted.base)) continue;
            CAPTURE(std::string(source_type));
            CAPTURE(wanted.name);
            const auto out = folder.path() / "out.gguf";
            const auto summary = quantize_to(in, out, wanted.name);
            const auto result = gguf::File::open(out);
            CHECK(summary.n_tensors == source.tensors().size());
            CHECK(summary.n_fallbacks == 0);
            CHECK(summary.bytes_read == source.tensor_bytes());
            CHECK(summary.bytes_written == result.tensor_bytes());
            REQUIRE(result.tensors().size() == source.tensors().size());
            for (std::size_t i = 0; i < source.tensors().size(); ++i) {
                const auto& before = source.tensors()[i];
                const auto& after = result.tensors()[i];
                CAPTURE(before.name);
                CHECK(after.name == before.name);
                CHECK(after.dims == before.dims);
                if (before.dims.size() == 1) {
                    CHECK(after.type == TensorType::F32);
                    CHECK(same_bytes(after.data, before.data));
                } else {
                    CHECK(after.type == quantize::choose_type(wanted, before.name, before.cols(), model,
                                                              quantize::OutputMatrix::as_llama_cpp));
                    const auto expected = packed(after.type, values_of(before));
                    CHECK(same_bytes(after.data, expected));
                }
            }
        }
    }
}

TEST_CASE("all metadata is copied; file type and quantisation version tell of the new types") {
    const TemporaryFolder folder;
    const auto in = synthetic(folder, "in.gguf", {});
    const auto with_more = folder.path() / "more.gguf";
    const auto add_keys = [](gguf::Writer& writer) {
        writer.set_f32s("test.floats", std::vector<float>{1.5f, -2.0f});
        writer.set_bool("test.bool", true);
        writer.set_u64("test.wide", ~std::uint64_t{0});
    };
    rewrite(gguf::File::open(in), with_more, 128, add_keys, all_tensors, no_change);
    const auto out = folder.path() / "out.gguf";
    quantize_to(with_more, out, "Q5_K_M");
    const auto source = gguf::File::open(with_more);
    const auto result = gguf::File::open(out);
    CHECK(result.require_u32("general.file_type") == 17);
    CHECK(result.require_u32("general.quantization_version") == 2);
    CHECK(result.require_u32("general.alignment") == 128);
    CHECK(result.metadata().size() == source.metadata().size());
    CHECK(result.require_array("test.floats").floating(1) == -2.0);
    CHECK(std::get<std::uint64_t>(result.find("test.wide")->value) == ~std::uint64_t{0});
    for (const auto& entry : source.metadata()) {
        CAPTURE(entry.key);
        REQUIRE(result.find(entry.key) != nullptr);
        CHECK(result.find(entry.key)->type == entry.type);
    }
    const auto& tokens = result.require_array("tokenizer.ggml.tokens");
    REQUIRE(tokens.size() == 512);
    CHECK(tokens.string(300) == source.require_array("tokenizer.ggml.tokens").string(300));
}

TEST_CASE("the bytes do not depend on the number of threads") {
    const TemporaryFolder folder;
    synth::ModelSpec spec;
    spec.vocab_size = 5000;  // more than one piece of work for the embedding
    const auto in = synthetic(folder, "in.gguf", spec);
    quantize_to(in, folder.path() / "one.gguf", "Q4_K_M", {.n_threads = 1});
    quantize_to(in, folder.path() / "three.gguf", "Q4_K_M", {.n_threads = 3});
    CHECK(read_file(folder.path() / "one.gguf") == read_file(folder.path() / "three.gguf"));
}

TEST_CASE("a split set becomes one file with the same content as from a single one") {
    const TemporaryFolder folder;
    const auto in = synthetic(folder, "in.gguf", {});
    const auto split = split_in_two(gguf::File::open(in), folder);
    quantize_to(split, folder.path() / "out.gguf", "Q8_0");
    quantize_to(in, folder.path() / "expected.gguf", "Q8_0");
    const auto result = gguf::File::open(folder.path() / "out.gguf");
    const auto expected = gguf::File::open(folder.path() / "expected.gguf");
    CHECK(result.find("split.count") == nullptr);
    CHECK(result.metadata().size() == expected.metadata().size());
    REQUIRE(result.tensors().size() == expected.tensors().size());
    for (const auto& tensor : expected.tensors()) {
        CAPTURE(tensor.name);
        CHECK(same_bytes(result.require_tensor(tensor.name).data, tensor.data));
    }
}

TEST_CASE("columns that fit no super-block are counted and fall back") {
    const TemporaryFolder folder;
    synth::ModelSpec spec;
    spec.dim = 192;  // and 768 in ffn_down
    const auto in = synthetic(folder, "in.gguf", spec);
    const auto summary = quantize_to(in, folder.path() / "out.gguf", "Q4_K");
    CHECK(summary.n_fallbacks == 1 + 2 * 5);  // attn_output has 256 columns
    const auto result = gguf::File::open(folder.path() / "out.gguf");
    CHECK(result.require_tensor("token_embd.weight").type == TensorType::Q8_0);
    CHECK(result.require_tensor("blk.0.attn_q.weight").type == TensorType::Q5_0);
    CHECK(result.require_tensor("blk.0.ffn_down.weight").type == TensorType::Q4_K);
}

TEST_CASE("a pure recipe gives the output matrix its own type") {
    const TemporaryFolder folder;
    const auto in = synthetic(folder, "in.gguf", {});
    quantize_to(in, folder.path() / "out.gguf", "Q4_0", {.output = quantize::OutputMatrix::pure});
    CHECK(gguf::File::open(folder.path() / "out.gguf").require_tensor("token_embd.weight").type == TensorType::Q4_0);
}

TEST_CASE("what is quantised already is unpacked to floats freely and quantised again only on request") {
    const TemporaryFolder folder;
    synth::ModelSpec spec;
    spec.type = "Q4_K";
    const auto in = synthetic(folder, "in.gguf", spec);
    const auto out = folder.path() / "out.gguf";
    CHECK_THROWS_WITH_AS(quantize::quantize_file(in, out, recipe("Q8_0"), {}, nullptr),
                         Contains("tensor 'token_embd.weight': is Q4_K already, and Q8_0 from it"), gguf::Error);
    CHECK(folder.file_count() == 1);
    quantize_to(in, out, "Q8_0", {.requantize = true});
    CHECK(gguf::File::open(out).require_tensor("blk.0.attn_q.weight").type == TensorType::Q8_0);
    quantize_to(in, out, "F32");
    const auto source = gguf::File::open(in);
    const auto unpacked = gguf::File::open(out);
    CHECK(values_of(unpacked.require_tensor("blk.1.ffn_up.weight")) ==
          values_of(source.require_tensor("blk.1.ffn_up.weight")));
}

TEST_CASE("the model that is read is never overwritten, under whichever name") {
    const TemporaryFolder folder;
    const auto in = synthetic(folder, "in.gguf", {});
    const auto link = folder.path() / "link.gguf";
    std::filesystem::create_symlink(in, link);
    const auto split = split_in_two(gguf::File::open(in), folder);
    const auto second = folder.path() / "split-00002-of-00002.gguf";
    const auto before = read_file(in);
    for (const auto& [from, to] : {std::pair{in, in}, {in, link}, {link, in}, {split, split}, {split, second}}) {
        CAPTURE(to);
        CHECK_THROWS_WITH_AS(quantize::quantize_file(from, to, recipe("Q8_0"), {}, nullptr),
                             Contains("would overwrite the model that is read"), gguf::Error);
    }
    CHECK(read_file(in) == before);
    CHECK(std::filesystem::is_symlink(link));
}

TEST_CASE("a weight that is NaN or too large is refused by tensor and place, and nothing is left") {
    const TemporaryFolder folder;
    synth::ModelSpec spec;
    spec.type = "F32";
    const auto in = synthetic(folder, "in.gguf", spec);
    const auto broken = folder.path() / "broken.gguf";
    const auto with_value = [&](float value) {
        rewrite(gguf::File::open(in), broken, 32, no_keys, all_tensors, [&](const auto& tensor, auto& data) {
            if (tensor.name == "blk.1.ffn_up.weight") std::memcpy(data.data() + 4 * 1000, &value, sizeof value);
        });
    };
    const auto out = folder.path() / "out.gguf";
    with_value(NAN);
    CHECK_THROWS_WITH_AS(quantize::quantize_file(broken, out, recipe("Q4_K"), {}, nullptr),
                         Contains("tensor 'blk.1.ffn_up.weight': weight 1000 of type F32: the value is nan"),
                         gguf::Error);
    with_value(1e12f);
    CHECK_THROWS_WITH_AS(quantize::quantize_file(broken, out, recipe("Q4_K"), {}, nullptr),
                         Contains("weight 1000: the value 1000000000000 is too large"), gguf::Error);
    CHECK(folder.file_count() == 2);
}

TEST_CASE("mixtures are refused where their rules are not known, plain types are not") {
    const TemporaryFolder folder;
    const auto in = synthetic(folder, "in.gguf", {});
    const auto experts = folder.path() / "experts.gguf";
    const auto add_keys = [](gguf::Writer& writer) { writer.set_u32("llama.expert_count", 8); };
    rewrite(gguf::File::open(in), experts, 32, add_keys, all_tensors, no_change);
    const auto out = folder.path() / "out.gguf";
    CHECK_THROWS_WITH_AS(quantize::quantize_file(experts, out, recipe("Q4_K_M"), {}, nullptr),
                         Contains("architecture 'llama' with experts; Q4_K fits any model"), gguf::Error);
    CHECK_NOTHROW(quantize_to(experts, out, "Q4_K"));
    CHECK_THROWS_WITH_AS(quantize::quantize_file(in, out, recipe("Q2_K"), {}, nullptr),
                         Contains("no quantiser for Q2_K"), gguf::Error);
}

TEST_CASE("progress grows to the size of the input, and can end the work without a trace") {
    const TemporaryFolder folder;
    synth::ModelSpec spec;
    spec.vocab_size = 5000;
    const auto in = synthetic(folder, "in.gguf", spec);
    const auto out = folder.path() / "out.gguf";
    std::size_t last = 0;
    std::size_t total = 0;
    bool grows = true;
    quantize::quantize_file(in, out, recipe("Q8_0"), {}, [&](std::size_t done, std::size_t all) {
        grows = grows && done > last;
        last = done;
        total = all;
        return true;
    });
    CHECK(grows);
    CHECK(last == total);
    CHECK(total == gguf::File::open(in).tensor_bytes());
    std::filesystem::remove(out);

    int calls = 0;
    const auto stopped =
        quantize::quantize_file(in, out, recipe("Q8_0"), {.n_threads = 1}, [&](auto, auto) { return ++calls < 3; });
    CHECK_FALSE(stopped.has_value());
    CHECK(calls == 3);
    CHECK(folder.file_count() == 1);
}

TEST_CASE("a place that can't be written is named") {
    const TemporaryFolder folder;
    const auto in = synthetic(folder, "in.gguf", {});
    CHECK_THROWS_WITH_AS(quantize::quantize_file(in, "/no/such/folder/m.gguf", recipe("Q8_0"), {}, nullptr),
                         Contains("/no/such/folder/m.gguf"), gguf::Error);
    CHECK_THROWS_WITH_AS(quantize::quantize_file(folder.path() / "none.gguf", in, recipe("Q8_0"), {}, nullptr),
                         Contains("none.gguf"), gguf::Error);
}
