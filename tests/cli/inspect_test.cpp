// vigil inspect.
#include <doctest/doctest.h>
#include <string>

#include "bench/synth/model_spec.h"
#include "bench/synth/write_model.h"
#include "host/gguf/gguf.h"
#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"

using namespace vigil::test;

TEST_CASE("the tables name keys, values, tensors, shapes and types") {
    const Result result = run({"inspect", tiny_model()});
    CHECK(result.exit_code == 0);
    for (const char* part : {"general.architecture", "'llama'", "llama.embedding_length", "256", "string[512]", ", …]",
                             "token_embd.weight", "F16", "[256, 512]", "262144 bytes"}) {
        CAPTURE(part);
        CHECK(result.out.find(part) != std::string::npos);
    }
    // Long arrays are cut: no line is longer than a wide terminal.
    for (const std::string& line : lines_of(result.out)) CHECK(line.size() < 250);
}

TEST_CASE("the JSON holds all that the file does") {
    const Result result = run({"inspect", tiny_model(), "--json"});
    CHECK(result.exit_code == 0);
    const Json json = Json::parse(result.out);
    const auto file = vigil::gguf::File::open(tiny_model());
    CHECK(json.at("version") == file.version());
    CHECK(json.at("tensor_bytes") == file.tensor_bytes());
    CHECK(json.at("metadata").size() == file.metadata().size());
    CHECK(json.at("metadata").at("tokenizer.ggml.tokens").at("value").size() == 512);
    CHECK(json.at("metadata").at("llama.embedding_length") == Json{{"type", "uint32"}, {"value", 256}});
    CHECK(json.at("metadata").at("llama.attention.layer_norm_rms_epsilon").at("value") == 1e-5);
    REQUIRE(json.at("tensors").size() == file.tensors().size());
    for (std::size_t i = 0; i < file.tensors().size(); ++i) {
        const auto& tensor = file.tensors()[i];
        CHECK(json.at("tensors").at(i).at("name") == tensor.name);
        CHECK(json.at("tensors").at(i).at("shape") == tensor.dims);
        CHECK(json.at("tensors").at(i).at("bytes") == tensor.data.size());
        CHECK(json.at("tensors").at(i).at("type") == vigil::gguf::traits(tensor.type).name);
    }
}

TEST_CASE("strings that are no UTF-8 do not break the JSON") {
    auto spec = vigil::synth::preset("tiny");
    spec.name = "br\xffken";
    const auto path = new_path("broken.gguf");
    vigil::synth::write_model(spec, path);
    const Result result = run({"inspect", path, "--json"});
    CHECK(result.exit_code == 0);
    const Json json = Json::parse(result.out);
    CHECK(json.at("metadata").at("general.name").at("value") == "synthetic br\xef\xbf\xbdken");
    CHECK(run({"inspect", path}).exit_code == 0);
}
