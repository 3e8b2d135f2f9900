#include "tests/tokenizer/golden.h"

#include <doctest/doctest.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace vigil::test {
namespace {

nlohmann::json read_json(const std::filesystem::path& path) {
    std::ifstream in(path);
    REQUIRE_MESSAGE(in, path.string());
    return nlohmann::json::parse(in);
}

// An array of arrays, some of them null.
template <class T>
std::vector<std::optional<std::vector<T>>> read_rows(const nlohmann::json& json) {
    std::vector<std::optional<std::vector<T>>> rows;
    for (const auto& row : json) {
        rows.emplace_back();
        if (!row.is_null()) rows.back() = row.get<std::vector<T>>();
    }
    return rows;
}

std::string from_hex(const std::string& hex) {
    std::string out;
    for (std::size_t i = 0; i < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    return out;
}

}  // namespace

std::filesystem::path golden_folder() {
    return std::filesystem::path(VIGIL_TEST_DATA) / "golden/tokenizer";
}

const std::vector<std::string>& golden_texts() {
    static const std::vector<std::string> texts = [] {
        std::vector<std::string> out;
        for (const auto& text : read_json(golden_folder() / "cases.json")) {
            out.push_back(text.is_string() ? text.get<std::string>() : from_hex(text.at("hex")));
        }
        return out;
    }();
    return texts;
}

Golden load_golden(const std::string& name) {
    const nlohmann::json json = read_json(golden_folder() / (name + ".json"));
    Golden golden;
    golden.vocab_size = json.at("vocab_size");
    golden.bos = json.at("bos");
    golden.eos = json.at("eos");
    golden.adds_bos = json.at("adds_bos");
    golden.adds_eos = json.at("adds_eos");
    golden.end_of_generation = json.at("end_of_generation").get<std::vector<Token>>();
    golden.with_bos = json.at("with_bos").get<std::vector<Token>>();
    golden.ids = read_rows<Token>(json.at("ids"));
    golden.ids_with_special = golden.ids;
    for (const auto& [index, ids] : json.at("ids_with_special").items()) {
        golden.ids_with_special.at(std::stoul(index)) = ids.get<std::vector<Token>>();
    }
    if (json.contains("words")) golden.words = read_rows<std::size_t>(json.at("words"));
    return golden;
}

Tokenizer load_vocabulary(const std::string& name) {
    return Tokenizer::from_gguf(gguf::File::open(golden_folder() / (name + ".gguf")));
}

void check_against(const Golden& golden, const Tokenizer& tokenizer) {
    CHECK(tokenizer.vocab_size() == golden.vocab_size);
    CHECK(tokenizer.bos() == golden.bos);
    CHECK(tokenizer.eos() == golden.eos);
    CHECK(tokenizer.adds_bos() == golden.adds_bos);
    CHECK(tokenizer.adds_eos() == golden.adds_eos);
    const auto ends = tokenizer.end_of_generation();
    CHECK(std::vector<Token>(ends.begin(), ends.end()) == golden.end_of_generation);
    CHECK(tokenizer.encode("Hello") == golden.with_bos);

    const auto& texts = golden_texts();
    REQUIRE(texts.size() >= 200);
    REQUIRE(golden.ids.size() == texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
        if (!golden.ids[i]) continue;
        CAPTURE(i);
        CAPTURE(texts[i]);
        CHECK(tokenizer.encode(texts[i], {.add_bos = false, .parse_special = false}) == *golden.ids[i]);
        CHECK(tokenizer.encode(texts[i], {.add_bos = false, .parse_special = true}) == *golden.ids_with_special[i]);
    }
}

}  // namespace vigil::test
