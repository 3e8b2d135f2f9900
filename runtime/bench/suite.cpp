#include "runtime/bench/suite.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <utility>

#include "host/gguf/gguf.h"
#include "runtime/bench/read_ceiling.h"
#include "runtime/choose_device.h"
#include "runtime/dispatch_name.h"

namespace vigil::bench {
namespace {

constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;
// Enough to be no cache's, little enough to be filled soon.
constexpr double kReadGibOnGpu = 4;
constexpr double kReadGibOnCpu = 0.5;

std::string describe(const ring::SamplingParams& p) {
    if (p.temperature <= 0) return "greedy";
    return fmt::format(
        "temperature {} top-k {} top-p {} min-p {} penalties {} (repeat) {} (frequency) {} (presence) seed {}",
        p.temperature, p.top_k, p.top_p, p.min_p, p.repeat_penalty, p.frequency_penalty, p.presence_penalty, p.seed);
}

}  // namespace

Suite::Suite(SuiteOptions options, RunContext context) : options_(std::move(options)), context_(std::move(context)) {
    context_.sampling = describe(options_.sampling);
}

TokenTest Suite::token_test(std::int32_t depth, std::int32_t n_tokens) const {
    return {depth, n_tokens, options_.n_warmup, options_.repetitions, options_.sampling};
}

PromptTest Suite::prompt_test(std::int32_t depth, std::int32_t n_prompt) const {
    return {depth, n_prompt, options_.repetitions, options_.sampling};
}

std::int64_t Suite::positions_needed() const {
    std::int64_t most = options_.n_jobs > 0 ? kPositionsToSubmit : 0;
    for (const std::int32_t depth : options_.depths) {
        for (const std::int32_t n : options_.prompts)
            most = std::max(most, bench::positions_needed(prompt_test(depth, n)));
        for (const std::int32_t n : options_.tokens)
            most = std::max(most, bench::positions_needed(token_test(depth, n)));
    }
    return most;
}

void Suite::run() {
    const auto device = choose_device(options_.device, options_.cpu_threads, options_.on_warning);
    context_.device = device->info().name;
    context_.architecture = device->info().architecture;
    measure_ceiling(*device);
    for (const std::string& path : options_.models)
        if (!interrupted_) measure_model(path, *device);
}

void Suite::measure_ceiling(host::Device& device) {
    const double gib = options_.read_gib.value_or(device.info().is_cuda ? kReadGibOnGpu : kReadGibOnCpu);
    const std::size_t bytes = std::min(static_cast<std::size_t>(gib * kGibibyte), device.info().free_bytes / 2);
    if (bytes == 0) {
        context_.no_read_ceiling = "no memory was given to it (--read-gib)";
        return;
    }
    context_.read_ceiling = read_ceiling(device, bytes);
    options_.on_progress(fmt::format("{}: read ceiling {:.0f} GB/s", context_.device, context_.read_ceiling));
}

void Suite::measure_model(const std::string& path, host::Device& device) {
    ModelFigures figures;
    figures.model = std::filesystem::path(path).stem().string();
    try {
        const auto file = gguf::File::open(path);
        const auto context = static_cast<std::int32_t>(positions_needed());
        const std::int32_t trained = host::read_config(file, 0).max_seq_len;
        if (context > trained)
            options_.on_warning(fmt::format("{}: the tests need {} positions, more than the {} the model was made for",
                                            figures.model, context, trained));
        const host::Model model(file, device, context, options_.on_load);
        device.flush_uploads();
        figures.weight_bytes = model.weight_bytes();
        figures.context = context;
        for (const std::int32_t n_blocks : options_.blocks) {
            if (interrupted_) return;
            models_.push_back(figures);
            measure_grid(model, models_.back(), n_blocks, device);
        }
    } catch (const std::exception& error) {
        options_.on_warning(error.what());
        figures.error = error.what();
        models_.push_back(std::move(figures));
    }
}

void Suite::measure_grid(const host::Model& model, ModelFigures& figures, std::int32_t n_blocks, host::Device& device) {
    try {
        Rig rig(device, model,
                {.n_blocks = n_blocks,
                 .prefill = !options_.prompts.empty(),
                 .use_cublas = options_.use_cublas,
                 .trace = options_.trace,
                 .interrupted = &interrupted_,
                 .on_warning = options_.on_warning});
        figures.plan = rig.args().plan;
        figures.gemm = rig.gemm_name();
        for (const std::int32_t depth : options_.depths) {
            measure_prompts(rig, figures, depth);
            measure_tokens(rig, figures, depth);
        }
        if (options_.n_jobs == 0) return;
        for (const host::Dispatch dispatch : options_.dispatches)
            figures.submits.push_back(measure_submit(rig, dispatch, options_.n_jobs));
    } catch (const Interrupted&) {
        // The figures so far are whole.
    } catch (const std::exception& error) {
        options_.on_warning(fmt::format("{}: {}", figures.model, error.what()));
        figures.error = error.what();
    }
}

void Suite::measure_prompts(Rig& rig, ModelFigures& figures, std::int32_t depth) {
    for (const std::int32_t n_prompt : options_.prompts)
        for (const host::Dispatch dispatch : options_.dispatches) {
            const PromptFigures& row =
                figures.prompts.emplace_back(measure_prompt(rig, dispatch, prompt_test(depth, n_prompt)));
            options_.on_progress(fmt::format("{}, {} blocks, {}, {}: first token after {:.3f} ms", figures.model,
                                             figures.plan.n_blocks, test_name(row), name_of(dispatch),
                                             row.first_token_ms.p50));
        }
}

void Suite::measure_tokens(Rig& rig, ModelFigures& figures, std::int32_t depth) {
    for (const std::int32_t n_tokens : options_.tokens)
        for (const host::Dispatch dispatch : options_.dispatches) {
            const TokenFigures& row =
                figures.tokens.emplace_back(bench::measure_tokens(rig, dispatch, token_test(depth, n_tokens)));
            const std::string name = fmt::format("{}, {} blocks, {}, {}", figures.model, figures.plan.n_blocks,
                                                 test_name(row), name_of(dispatch));
            options_.on_progress(fmt::format("{}: {:.4f} ms/token", name, row.ms.p50));
            if (options_.trace.n_tokens > 0) traces_.push_back(rig.trace(fmt::format("{}, {}", context_.device, name)));
        }
}

}  // namespace vigil::bench
