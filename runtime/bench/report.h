// What `vigil bench` says: the machine, and one row per measurement, as JSON, as CSV or as Markdown tables.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/bench/measure.h"

namespace vigil::bench {

// Where and how the figures were made.
struct RunContext {
    std::string date;  // UTC
    std::string device, architecture, built_for, driver;
    std::string command, commit;
    double read_ceiling = 0;      // GB/s; 0: not measured
    std::string no_read_ceiling;  // why not
    std::string sampling;
};

// The figures of one model on one grid.
struct ModelFigures {
    std::string model;
    std::size_t weight_bytes = 0;  // on the device
    std::int32_t context = 0;      // positions in the KV cache
    std::string gemm;              // of prompts; empty if none was measured
    device::GridPlan plan;
    std::vector<PromptFigures> prompts;
    std::vector<TokenFigures> tokens;
    std::vector<SubmitFigures> submits;
    std::string error;  // what ended the measurements, or empty
};

// Date, driver, and the command line; the rest is the caller's.
RunContext read_context(std::string command);

// "pp512" for a prompt of 512 tokens and "tg128" for 128 generated ones, with " @ d4096" behind 4,096 cached positions.
std::string test_name(const PromptFigures& row);
std::string test_name(const TokenFigures& row);

std::string to_json(const RunContext& context, const std::vector<ModelFigures>& models);
std::string to_csv(const RunContext& context, const std::vector<ModelFigures>& models);
std::string to_markdown(const RunContext& context, const std::vector<ModelFigures>& models);

}  // namespace vigil::bench
