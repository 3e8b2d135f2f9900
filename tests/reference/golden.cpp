#include "tests/reference/golden.h"

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace vigil::reference {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(VIGIL_TEST_DATA) / "golden" / "model";

template <class T>
void read(std::ifstream& file, std::vector<T>& values, std::size_t n) {
    values.resize(n);
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(n * sizeof(T)));
    if (!file) throw std::runtime_error("tests/golden/model/logits.bin is missing or too short");
}

}  // namespace

Golden load_golden() {
    std::ifstream text(kFolder / "golden.json");
    if (!text) throw std::runtime_error("tests/golden/model/golden.json is missing");
    const auto json = nlohmann::json::parse(text);
    Golden golden;
    for (const auto& entry : json.at("greedy"))
        golden.greedy.push_back(
            {entry.at("text"), entry.at("prompt"), entry.at("continuation"), entry.at("smallest_margin")});
    json.at("text").at("tokens").get_to(golden.text_tokens);
    json.at("text").at("nll").get_to(golden.text_nll);
    const auto& logits = json.at("logits");
    logits.at("positions").get_to(golden.n_logits);
    logits.at("nll").get_to(golden.logits_nll);
    logits.at("columns").get_to(golden.columns);
    logits.at("argmax").get_to(golden.argmax);
    std::ifstream binary(kFolder / "logits.bin", std::ios::binary);
    const auto rows = static_cast<std::size_t>(golden.n_logits);
    read(binary, golden.statistics, rows);
    read(binary, golden.logits, rows * golden.columns.size());
    if (golden.argmax.size() != rows || golden.text_tokens.size() < rows)
        throw std::runtime_error("tests/golden/model/golden.json: its sizes do not agree");
    return golden;
}

std::optional<std::filesystem::path> find_model() {
    const char* given = std::getenv("VIGIL_MODEL");
    const std::filesystem::path path =
        given != nullptr ? std::filesystem::path(given)
                         : std::filesystem::path(VIGIL_TEST_DATA) / ".." / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!std::filesystem::exists(path)) return std::nullopt;
    return path;
}

}  // namespace vigil::reference
