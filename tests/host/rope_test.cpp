// RoPE frequencies against transformers (golden/model/rope.json, made by make_rope_golden.py beside it) and against
// closed forms.
#include "host/rope.h"

#include <cmath>
#include <doctest/doctest.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "host/model.h"
#include "tests/host/model_file.h"

namespace vigil::host {
namespace {

using test::message_of;
using test::ModelFile;

// A model with one head of `head_dim` whose RoPE keys say what the golden case says.
ModelFile model_of(const nlohmann::json& golden) {
    const auto head_dim = golden["head_dim"].get<std::uint32_t>();
    const auto& rope = golden["rope"];
    const auto type = rope["rope_type"].get<std::string>();
    ModelFile model;
    model.keys["attention.key_length"] = head_dim;
    model.keys["attention.value_length"] = head_dim;
    model.keys["context_length"] = golden["context"].get<std::uint32_t>();
    model.keys["rope.freq_base"] = rope["rope_theta"].get<float>();
    if (type == "linear" || type == "yarn") {
        model.keys["rope.scaling.type"] = type;
        model.keys["rope.scaling.factor"] = rope["factor"].get<float>();
    }
    if (type == "yarn") {
        model.keys["rope.scaling.original_context_length"] =
            rope["original_max_position_embeddings"].get<std::uint32_t>();
        if (rope.contains("beta_fast")) model.keys["rope.scaling.yarn_beta_fast"] = rope["beta_fast"].get<float>();
        if (rope.contains("beta_slow")) model.keys["rope.scaling.yarn_beta_slow"] = rope["beta_slow"].get<float>();
    }
    if (golden.contains("freq_factors"))
        model.tensors["rope_freqs.weight"] = {{head_dim / 2}, golden["freq_factors"].get<std::vector<float>>()};
    return model;
}

double radians(std::uint64_t turns) {
    return std::ldexp(static_cast<double>(turns), -64) * 2.0 * std::numbers::pi;
}

TEST_CASE("frequencies of every scaling kind are those of transformers") {
    std::ifstream stream(VIGIL_TEST_DATA "/golden/model/rope.json");
    const auto golden = nlohmann::json::parse(stream);
    REQUIRE(golden["cases"].size() == 5);
    for (const auto& item : golden["cases"]) {
        CAPTURE(item["name"].get<std::string>());
        const gguf::File file = model_of(item).open();
        const device::ModelConfig config = read_config(file, 0);
        const std::vector<std::uint64_t> turns = rope_turns(file, config);
        const auto expected = item["frequencies"].get<std::vector<double>>();
        REQUIRE(turns.size() == expected.size());
        for (std::size_t i = 0; i < turns.size(); ++i) {
            CAPTURE(i);
            CHECK(radians(turns[i]) == doctest::Approx(expected[i]).epsilon(2e-6));
        }
        CHECK(config.rope_scale == doctest::Approx(item["magnitude"].get<double>()).epsilon(1e-6));
    }
}

TEST_CASE("turns keep their place modulo one turn at far positions") {
    // 1 radian is 1/(2 pi) turns; the product with a position in 64 bits is the fraction of a turn.
    const std::uint64_t turns = turns_from_radians(1.0);
    const std::uint64_t position = 1'000'003;
    const long double exact = static_cast<long double>(position) / (2.0L * std::numbers::pi_v<long double>);
    const double fraction = std::ldexp(static_cast<double>(turns * position), -64);
    CHECK(fraction == doctest::Approx(static_cast<double>(exact - std::floor(exact))).epsilon(1e-8));
}

TEST_CASE("more than one turn per position counts modulo one turn") {
    CHECK(radians(turns_from_radians(2.0 * std::numbers::pi * 3.25)) == doctest::Approx(0.5 * std::numbers::pi));
    CHECK(turns_from_radians(0.0) == 0);
}

TEST_CASE("the attention factor multiplies the magnitude of every kind") {
    RopeParameters rope;
    rope.rotary_dim = 64;
    rope.attn_factor = 1.5;
    CHECK(rope_magnitude(rope) == 1.5);
    rope.scaling = RopeParameters::Scaling::yarn;
    rope.factor = std::exp(1.0);
    CHECK(rope_magnitude(rope) == doctest::Approx(1.1 * 1.5));
    // DeepSeek's mscale_all_dim: the same multiplier cancels.
    rope.yarn_log_multiplier = 1.0;
    CHECK(rope_magnitude(rope) == doctest::Approx(1.5));
}

TEST_CASE("a factor without a type is linear, and type none ignores it") {
    ModelFile model;
    model.keys["rope.scaling.factor"] = 2.0f;
    const auto first_pair = [](const gguf::File& file) { return radians(rope_turns(file, read_config(file, 0))[0]); };
    CHECK(first_pair(model.open()) == doctest::Approx(0.5));
    model.keys["rope.scaling.type"] = std::string("none");
    CHECK(first_pair(model.open()) == doctest::Approx(1.0));
}

TEST_CASE("RoPE keys that make no sense are refused by name and value") {
    const auto refused = [](const std::string& key, const test::KeyData& value) {
        ModelFile model;
        model.keys["rope.scaling.type"] = std::string("yarn");
        model.keys[key] = value;
        const gguf::File file = model.open();
        return message_of<gguf::Error>([&] { read_config(file, 0); });
    };
    CHECK(refused("rope.scaling.type", std::string("longrope")).find("'longrope'") != std::string::npos);
    CHECK(refused("rope.freq_base", 0.0f).find("llama.rope.freq_base") != std::string::npos);
    CHECK(refused("rope.freq_base", 1.0f).find("must be more than 1") != std::string::npos);
    CHECK(refused("rope.scaling.factor", -2.0f).find("-2") != std::string::npos);
    CHECK(refused("rope.scaling.original_context_length", 0u).find("original_context_length") != std::string::npos);
    CHECK(refused("rope.scaling.yarn_beta_fast", std::nanf("")).find("yarn_beta_fast") != std::string::npos);
}

TEST_CASE("frequency factors of the wrong number or sign are refused") {
    ModelFile model;
    model.tensors["rope_freqs.weight"] = {{3}, {1, 1, 1}};
    const auto text = [&] {
        const gguf::File file = model.open();
        return message_of<gguf::Error>([&] { rope_turns(file, read_config(file, 0)); });
    };
    CHECK(text().find("expected [4]") != std::string::npos);
    model.tensors["rope_freqs.weight"] = {{4}, {1, 1, 0, 1}};
    CHECK(text().find("value 0 at 2") != std::string::npos);
}

}  // namespace
}  // namespace vigil::host
