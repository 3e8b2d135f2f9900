// The golden data of tests/golden/tokenizer/ (make_golden.py there says how it is made).
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "host/tokenizer/tokenizer.h"

namespace vigil::test {

std::filesystem::path golden_folder();

// The texts of cases.json; some are no valid UTF-8.
const std::vector<std::string>& golden_texts();

// NAME.json: what another implementation makes of golden_texts(), by index.
struct Golden {
    std::int32_t vocab_size;
    Token bos, eos;
    bool adds_bos, adds_eos;
    std::vector<Token> end_of_generation;
    std::vector<Token> with_bos;  // of "Hello"
    // By text: with special tokens read as plain text, and parsed. Nothing where there are no golden ids.
    std::vector<std::optional<std::vector<Token>>> ids, ids_with_special;
    // By text: ends of the pre-tokenizer's words; nothing where the text is no UTF-8. Empty for SPM.
    std::vector<std::optional<std::vector<std::size_t>>> words;
};
Golden load_golden(const std::string& name);

// The vocabulary NAME.gguf.
Tokenizer load_vocabulary(const std::string& name);

// Checks everything that `golden` says.
void check_against(const Golden& golden, const Tokenizer& tokenizer);

}  // namespace vigil::test
