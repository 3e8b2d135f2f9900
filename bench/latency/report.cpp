#include "bench/latency/report.h"

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "device/launch.h"

namespace vigil::bench {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Percentiles& p) {
    return {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"max", p.max}};
}

// Tokens are compared with those of the first dispatch at the same depth.
bool same_tokens(const ModelFigures& model, const TokenFigures& row) {
    for (const TokenFigures& other : model.tokens)
        if (other.depth == row.depth) return other.tokens == row.tokens;
    return false;
}

Json to_json(const ModelFigures& model, const TokenFigures& row, double ceiling) {
    return {{"dispatch", name_of(row.dispatch)},
            {"depth", row.depth},
            {"tokens", row.n_tokens},
            {"ms", to_json(row.ms)},
            {"mean_ms", row.mean_ms},
            {"launches_per_token", row.launches_per_token},
            {"bytes_per_token", row.bytes_per_token},
            {"gb_per_s", row.gigabytes_per_second},
            {"share_of_ceiling", row.gigabytes_per_second / ceiling},
            {"same_tokens", same_tokens(model, row)}};
}

Json to_json(const SubmitFigures& row) {
    return {{"dispatch", name_of(row.dispatch)},
            {"jobs", row.n_jobs},
            {"first_token_us", to_json(row.first_token_us)},
            {"round_trip_us", to_json(row.round_trip_us)},
            {"token_ms_p50", row.token_ms}};
}

Json to_json(const ModelFigures& model, double ceiling) {
    Json json{{"model", model.model},
              {"weight_bytes", model.weight_bytes},
              {"plan",
               {{"blocks", model.plan.n_blocks},
                {"threads", model.plan.n_threads},
                {"kv_splits", model.plan.max_kv_splits},
                {"shared_bytes", model.plan.shared_bytes}}},
              {"decode", Json::array()},
              {"submit", Json::array()}};
    for (const TokenFigures& row : model.tokens) json["decode"].push_back(to_json(model, row, ceiling));
    for (const SubmitFigures& row : model.submits) json["submit"].push_back(to_json(row));
    if (!model.error.empty()) json["error"] = model.error;
    return json;
}

// The kernel module's line, such as "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159 …".
std::string driver_version() {
    std::ifstream file("/proc/driver/nvidia/version");
    std::string line;
    std::getline(file, line);
    return line;
}

std::string utc_date() {
    const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    std::tm utc{};
    gmtime_r(&now, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%FT%TZ", &utc);
    return text;
}

}  // namespace

RunContext read_context(int argc, const char* const* argv) {
    RunContext context;
    context.date = utc_date();
    context.driver = driver_version();
    context.built_for = device::cuda::architectures();
    for (int i = 0; i < argc; ++i) {
        if (i > 0) context.command += ' ';
        context.command += argv[i];
    }
    return context;
}

std::string to_json(const RunContext& context, const std::vector<ModelFigures>& models) {
    Json json{{"date", context.date},
              {"commit", context.commit},
              {"command", context.command},
              {"device", context.device},
              {"architecture", context.architecture},
              {"built_for", context.built_for},
              {"driver", context.driver},
              {"read_ceiling_gb_per_s", context.read_ceiling},
              {"sampling", context.sampling},
              {"context", context.context},
              {"models", Json::array()}};
    for (const ModelFigures& model : models) json["models"].push_back(to_json(model, context.read_ceiling));
    return json.dump(1) + "\n";
}

std::string to_markdown(const RunContext& context, const std::vector<ModelFigures>& models) {
    std::string text;
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "`{}`, commit {}, {}, {} ({}), {}, read ceiling {:.0f} GB/s, sampling {}\n\n", context.command,
                   context.commit, context.date, context.device, context.architecture,
                   context.driver.empty() ? "no NVIDIA driver" : context.driver, context.read_ceiling,
                   context.sampling);
    fmt::format_to(
        out,
        "| model | blocks | depth | dispatch | launches/token | ms p50 | p90 | p99 | max | of ceiling | same "
        "tokens |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (const ModelFigures& model : models) {
        for (const TokenFigures& row : model.tokens)
            fmt::format_to(out, "| {} | {} | {} | {} | {} | {:.4f} | {:.4f} | {:.4f} | {:.4f} | {:.1f} % | {} |\n",
                           model.model, model.plan.n_blocks, row.depth, name_of(row.dispatch), row.launches_per_token,
                           row.ms.p50, row.ms.p90, row.ms.p99, row.ms.max,
                           100.0 * row.gigabytes_per_second / context.read_ceiling,
                           same_tokens(model, row) ? "yes" : "NO");
    }
    fmt::format_to(out,
                   "\n| model | blocks | dispatch | jobs | submit to first token, µs p50 | p99 | of it the model | job "
                   "without tokens, µs p50 | p99 |\n|---|---|---|---|---|---|---|---|---|\n");
    for (const ModelFigures& model : models)
        for (const SubmitFigures& row : model.submits)
            fmt::format_to(out, "| {} | {} | {} | {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.1f} |\n", model.model,
                           model.plan.n_blocks, name_of(row.dispatch), row.n_jobs, row.first_token_us.p50,
                           row.first_token_us.p99, 1e3 * row.token_ms, row.round_trip_us.p50, row.round_trip_us.p99);
    for (const ModelFigures& model : models)
        if (!model.error.empty()) fmt::format_to(out, "\n{}: {}\n", model.model, model.error);
    return text;
}

}  // namespace vigil::bench
