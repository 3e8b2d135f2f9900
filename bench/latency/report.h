// What decode_latency says: the machine, and one row per measurement, as JSON or as Markdown tables.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/latency/measure.h"

namespace vigil::bench {

// Where and how the figures were made.
struct RunContext {
    std::string date;  // UTC
    std::string device, architecture, built_for, driver;
    std::string command, commit;
    double read_ceiling = 0;  // GB/s
    std::string sampling;     // greedy or default
    std::int32_t context = 0;
};

// The figures of one model on one grid.
struct ModelFigures {
    std::string model;
    std::size_t weight_bytes = 0;  // on the device
    device::GridPlan plan;
    std::vector<TokenFigures> tokens;
    std::vector<SubmitFigures> submits;
    std::string error;  // what ended the measurements, or empty
};

// Date, driver, and the command line; the rest is the caller's.
RunContext read_context(int argc, const char* const* argv);

std::string to_json(const RunContext& context, const std::vector<ModelFigures>& models);
std::string to_markdown(const RunContext& context, const std::vector<ModelFigures>& models);

}  // namespace vigil::bench
