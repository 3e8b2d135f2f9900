// The golden data of SmolLM2 (tests/golden/model, made by make_golden.py) and where the model's file is.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace vigil::reference {

struct GreedyCase {
    std::string text;
    std::vector<int> prompt;
    std::vector<int> continuation;
    double smallest_margin;  // between the first and the second choice's logit, over the continuation
};

struct Golden {
    std::vector<GreedyCase> greedy;
    std::vector<int> text_tokens;  // of text.txt
    double text_nll;               // mean over all but the first
    int n_logits;                  // positions at the text's begin whose logits follow
    double logits_nll;             // mean over them but the first
    std::vector<int> columns;      // whose logits are kept
    std::vector<int> argmax;       // [n_logits]
    struct Statistics {
        float mean, deviation, logsumexp, top;
    };
    std::vector<Statistics> statistics;  // [n_logits] of all columns
    std::vector<float> logits;           // [n_logits][columns.size()]
};

// Throws std::runtime_error if the data is missing or its sizes do not agree.
Golden load_golden();

// $VIGIL_MODEL, or models/SmolLM2-135M-Instruct.Q4_1.gguf in the source tree; nothing if there is no such file.
std::optional<std::filesystem::path> find_model();

}  // namespace vigil::reference
