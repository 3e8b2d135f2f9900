#include "runtime/bench/report.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "device/launch.h"
#include "runtime/dispatch_name.h"

namespace vigil::bench {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Percentiles& p) {
    return {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"p99.9", p.p999}, {"max", p.max}};
}

Json to_json(const MeanAndDeviation& m) {
    return {{"mean", m.mean}, {"stddev", m.deviation}};
}

// Tokens are compared with those of the first dispatch with the same depth and number, and of each other repetition.
bool same_tokens(const ModelFigures& model, const TokenFigures& row) {
    const auto first = std::ranges::find_if(model.tokens, [&](const TokenFigures& other) {
        return other.depth == row.depth && other.n_tokens == row.n_tokens;
    });
    return row.repeats && first != model.tokens.end() && first->tokens == row.tokens;
}

double share_of_ceiling(const RunContext& context, const TokenFigures& row) {
    return row.gigabytes_per_second / context.read_ceiling;
}

Json to_json(const RunContext& context, const ModelFigures& model, const TokenFigures& row) {
    const bool has_ceiling = context.read_ceiling > 0;
    return {{"test", test_name(row)},
            {"dispatch", name_of(row.dispatch)},
            {"depth", row.depth},
            {"tokens", row.n_tokens},
            {"repetitions", row.repetitions},
            {"ms", to_json(row.ms)},
            {"mean_ms", row.mean_ms},
            {"tokens_per_s", to_json(row.tokens_per_second)},
            {"launches_per_token", row.launches_per_token},
            {"bytes_per_token", row.bytes_per_token},
            {"gb_per_s", row.gigabytes_per_second},
            {"share_of_ceiling", has_ceiling ? Json(share_of_ceiling(context, row)) : Json()},
            {"same_tokens", same_tokens(model, row)}};
}

Json to_json(const PromptFigures& row) {
    return {{"test", test_name(row)},
            {"dispatch", name_of(row.dispatch)},
            {"depth", row.depth},
            {"prompt", row.n_prompt},
            {"repetitions", row.repetitions},
            {"prefill_ms", to_json(row.prefill_ms)},
            {"first_token_ms", to_json(row.first_token_ms)},
            {"tokens_per_s", to_json(row.tokens_per_second)}};
}

Json to_json(const JobParts& parts) {
    return {{"write_us", to_json(parts.write_us)},
            {"ring_us", to_json(parts.ring_us)},
            {"device_us", to_json(parts.device_us)}};
}

// What a first token costs beside the token.
double beside_token_us(const SubmitFigures& row) {
    return row.first_token_us.p50 - 1e3 * row.token_ms;
}

Json to_json(const SubmitFigures& row) {
    return {{"dispatch", name_of(row.dispatch)},
            {"jobs", row.n_jobs},
            {"first_token_us", to_json(row.first_token_us)},
            {"round_trip_us", to_json(row.round_trip_us)},
            {"token_ms_p50", row.token_ms},
            {"beside_token_us_p50", beside_token_us(row)},
            {"first_token_parts", to_json(row.first_token)},
            {"round_trip_parts", to_json(row.round_trip)}};
}

Json to_json(const RunContext& context, const ModelFigures& model) {
    Json json{{"model", model.model},
              {"weight_bytes", model.weight_bytes},
              {"context", model.context},
              {"gemm", model.gemm},
              {"plan",
               {{"blocks", model.plan.n_blocks},
                {"threads", model.plan.n_threads},
                {"kv_splits", model.plan.max_kv_splits},
                {"shared_bytes", model.plan.shared_bytes}}},
              {"prompt", Json::array()},
              {"decode", Json::array()},
              {"submit", Json::array()}};
    for (const PromptFigures& row : model.prompts) json["prompt"].push_back(to_json(row));
    for (const TokenFigures& row : model.tokens) json["decode"].push_back(to_json(context, model, row));
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

std::string with_depth(std::string name, std::int32_t depth) {
    return depth == 0 ? name : fmt::format("{} @ d{}", name, depth);
}

// RFC 4180: quotes around what holds a comma or a quote, which is doubled.
std::string csv_text(const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"') quoted += '"';
        quoted += c;
    }
    return quoted + '"';
}

std::string csv_percentiles(const Percentiles& p) {
    return fmt::format("{},{},{},{},{}", p.p50, p.p90, p.p99, p.p999, p.max);
}

constexpr const char* kCsvHeader =
    "date,commit,device,architecture,read_ceiling_gb_per_s,sampling,model,weight_bytes,blocks,test,dispatch,depth,"
    "n_prompt,n_gen,repetitions,tokens_per_s,tokens_per_s_stddev,ms_p50,ms_p90,ms_p99,ms_p99.9,ms_max,"
    "bytes_per_token,gb_per_s,share_of_ceiling,same_tokens\n";

std::string megabytes(std::size_t bytes) {
    return fmt::format("{:.0f}", static_cast<double>(bytes) / 1e6);
}

std::string share_text(const RunContext& context, const TokenFigures& row) {
    return context.read_ceiling > 0 ? fmt::format("{:.1f} %", 100.0 * share_of_ceiling(context, row)) : "–";
}

std::string rate_text(const MeanAndDeviation& rate) {
    return fmt::format("{:.1f} ± {:.1f}", rate.mean, rate.deviation);
}

template <class Out>
void write_token_table(Out out, const RunContext& context, const std::vector<ModelFigures>& models) {
    fmt::format_to(
        out,
        "\n| model | MB | blocks | test | dispatch | launches/token | tokens/s | ms p50 | p90 | p99 | p99.9 | max | of "
        "ceiling | same tokens |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (const ModelFigures& model : models)
        for (const TokenFigures& row : model.tokens)
            fmt::format_to(
                out, "| {} | {} | {} | {} | {} | {} | {} | {:.4f} | {:.4f} | {:.4f} | {:.4f} | {:.4f} | {} | {} |\n",
                model.model, megabytes(model.weight_bytes), model.plan.n_blocks, test_name(row), name_of(row.dispatch),
                row.launches_per_token, rate_text(row.tokens_per_second), row.ms.p50, row.ms.p90, row.ms.p99,
                row.ms.p999, row.ms.max, share_text(context, row), same_tokens(model, row) ? "yes" : "NO");
}

template <class Out>
void write_prompt_table(Out out, const std::vector<ModelFigures>& models) {
    fmt::format_to(
        out,
        "\n| model | blocks | test | dispatch | tokens/s | time to first token, ms p50 | max | of it prefill, ms p50 | "
        "GEMM |\n|---|---|---|---|---|---|---|---|---|\n");
    for (const ModelFigures& model : models)
        for (const PromptFigures& row : model.prompts)
            fmt::format_to(out, "| {} | {} | {} | {} | {} | {:.3f} | {:.3f} | {:.3f} | {} |\n", model.model,
                           model.plan.n_blocks, test_name(row), name_of(row.dispatch), rate_text(row.tokens_per_second),
                           row.first_token_ms.p50, row.first_token_ms.max, row.prefill_ms.p50, model.gemm);
}

template <class Out>
void write_submit_table(Out out, const std::vector<ModelFigures>& models) {
    fmt::format_to(out,
                   "\n| model | blocks | dispatch | jobs | submit to first token, µs p50 | p99 | of it the model | job "
                   "without tokens, µs p50 | p99 |\n|---|---|---|---|---|---|---|---|---|\n");
    for (const ModelFigures& model : models)
        for (const SubmitFigures& row : model.submits)
            fmt::format_to(out, "| {} | {} | {} | {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.1f} |\n", model.model,
                           model.plan.n_blocks, name_of(row.dispatch), row.n_jobs, row.first_token_us.p50,
                           row.first_token_us.p99, 1e3 * row.token_ms, row.round_trip_us.p50, row.round_trip_us.p99);
}

}  // namespace

RunContext read_context(std::string command) {
    RunContext context;
    context.date = utc_date();
    context.driver = driver_version();
    context.built_for = device::cuda::architectures();
    context.command = std::move(command);
    return context;
}

std::string test_name(const PromptFigures& row) {
    return with_depth(fmt::format("pp{}", row.n_prompt), row.depth);
}

std::string test_name(const TokenFigures& row) {
    return with_depth(fmt::format("tg{}", row.n_tokens), row.depth);
}

std::string to_json(const RunContext& context, const std::vector<ModelFigures>& models) {
    Json json{{"date", context.date},
              {"commit", context.commit},
              {"command", context.command},
              {"device", context.device},
              {"architecture", context.architecture},
              {"built_for", context.built_for},
              {"driver", context.driver},
              {"read_ceiling_gb_per_s", context.read_ceiling > 0 ? Json(context.read_ceiling) : Json()}};
    if (!context.no_read_ceiling.empty()) json["no_read_ceiling"] = context.no_read_ceiling;
    json["sampling"] = context.sampling;
    json["models"] = Json::array();
    for (const ModelFigures& model : models) json["models"].push_back(to_json(context, model));
    return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_csv(const RunContext& context, const std::vector<ModelFigures>& models) {
    std::string text = kCsvHeader;
    const auto out = std::back_inserter(text);
    const std::string ceiling = context.read_ceiling > 0 ? fmt::format("{}", context.read_ceiling) : "";
    for (const ModelFigures& model : models) {
        const std::string head =
            fmt::format("{},{},{},{},{},{},{},{},{}", context.date, csv_text(context.commit), csv_text(context.device),
                        context.architecture, ceiling, csv_text(context.sampling), csv_text(model.model),
                        model.weight_bytes, model.plan.n_blocks);
        for (const PromptFigures& row : model.prompts)
            fmt::format_to(out, "{},{},{},{},{},0,{},{},{},{},,,,\n", head, test_name(row), name_of(row.dispatch),
                           row.depth, row.n_prompt, row.repetitions, row.tokens_per_second.mean,
                           row.tokens_per_second.deviation, csv_percentiles(row.first_token_ms));
        for (const TokenFigures& row : model.tokens)
            fmt::format_to(
                out, "{},{},{},{},0,{},{},{},{},{},{},{},{},{}\n", head, test_name(row), name_of(row.dispatch),
                row.depth, row.n_tokens, row.repetitions, row.tokens_per_second.mean, row.tokens_per_second.deviation,
                csv_percentiles(row.ms), row.bytes_per_token, row.gigabytes_per_second,
                ceiling.empty() ? "" : fmt::format("{}", share_of_ceiling(context, row)), same_tokens(model, row));
    }
    return text;
}

std::string to_markdown(const RunContext& context, const std::vector<ModelFigures>& models) {
    std::string text;
    const auto out = std::back_inserter(text);
    fmt::format_to(out, "`{}`, commit {}, {}, {} ({}), {}, {}, sampling {}\n", context.command,
                   context.commit.empty() ? "unknown" : context.commit, context.date, context.device,
                   context.architecture, context.driver.empty() ? "no NVIDIA driver" : context.driver,
                   context.read_ceiling > 0 ? fmt::format("read ceiling {:.0f} GB/s", context.read_ceiling)
                                            : "read ceiling not measured: " + context.no_read_ceiling,
                   context.sampling);
    const auto any = [&](auto rows) {
        return std::ranges::any_of(models, [&](const auto& m) { return !(m.*rows).empty(); });
    };
    if (any(&ModelFigures::tokens)) write_token_table(out, context, models);
    if (any(&ModelFigures::prompts)) write_prompt_table(out, models);
    if (any(&ModelFigures::submits)) write_submit_table(out, models);
    for (const ModelFigures& model : models)
        if (!model.error.empty()) fmt::format_to(out, "\n{}: {}\n", model.model, model.error);
    return text;
}

}  // namespace vigil::bench
