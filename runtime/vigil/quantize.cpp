// vigil quantize: a model to another file with its matrices in other tensor types.
#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <string>
#include <vector>

#include "host/quantize/pack.h"
#include "host/quantize/quantize_file.h"
#include "host/quantize/recipe.h"
#include "runtime/vigil/checks.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/interrupt.h"
#include "runtime/vigil/messages.h"
#include "runtime/vigil/progress.h"
#include "runtime/vigil/standard_output.h"

namespace vigil::program {
namespace {

constexpr int kMostThreads = 1024;

struct QuantizeOptions {
    std::string in;
    std::string out;
    std::string type;
    bool pure = false;
    bool requantize = false;
    int n_threads = 0;
};

std::vector<std::string> type_names() {
    std::vector<std::string> names;
    for (const quantize::Recipe& recipe : quantize::recipes())
        if (quantize::can_pack(recipe.base)) names.emplace_back(recipe.name);
    return names;
}

const quantize::Recipe& recipe_named(const std::string& name) {
    const quantize::Recipe* recipe = quantize::find_recipe(name);
    if (recipe == nullptr || !quantize::can_pack(recipe->base))
        throw UsageError(fmt::format("TYPE: expected one of {}, not '{}'", fmt::join(type_names(), ", "), name));
    return *recipe;
}

std::string to_text(const std::string& out, const quantize::FileSummary& summary) {
    constexpr double kMega = 1e-6;
    std::string text =
        fmt::format("{}: {} tensors, {:.1f} MB from {:.1f} MB, {:.2f} bits per weight\n", out, summary.n_tensors,
                    kMega * static_cast<double>(summary.bytes_written), kMega * static_cast<double>(summary.bytes_read),
                    8 * static_cast<double>(summary.bytes_written) / static_cast<double>(summary.n_weights));
    if (summary.n_fallbacks > 0)
        text += fmt::format("{} matrices have columns that fit no block of this type and got the next larger type\n",
                            summary.n_fallbacks);
    return text;
}

int quantize_model(const QuantizeOptions& o) {
    const quantize::Recipe& recipe = recipe_named(o.type);
    if (o.pure && recipe.mixture)
        throw UsageError(
            fmt::format("--pure: {} is a mixture; {} is its pure type", recipe.name, gguf::traits(recipe.base).name));
    Interrupt interrupt;
    const Interrupt::Scope remembers(interrupt, [] {});
    const quantize::FileOptions options{
        .output = o.pure ? quantize::OutputMatrix::pure : quantize::OutputMatrix::as_llama_cpp,
        .requantize = o.requantize,
        .n_threads = static_cast<unsigned>(o.n_threads)};
    const auto summary = [&] {
        ProgressBar progress("quantizing", "B", stderr_is_terminal());
        return quantize::quantize_file(o.in, o.out, recipe, options, [&](std::size_t done, std::size_t total) {
            progress.update(done, total);
            return !interrupt.interrupted();
        });
    }();
    if (!summary) {
        say(fmt::format("vigil: interrupted; {} was not written\n", o.out));
        return kInterrupted;
    }
    write_out(to_text(o.out, *summary));
    return kSuccess;
}

}  // namespace

Action add_quantize(CLI::App& app) {
    const auto o = std::make_shared<QuantizeOptions>();
    CLI::App& command = *app.add_subcommand("quantize", "Write a model with its matrices in another tensor type");
    command.add_option("IN", o->in, "GGUF file to read; of a split model, any of its files")->required();
    command.add_option("OUT", o->out, "GGUF file to write")->required()->check(not_empty());
    command.add_option("TYPE", o->type, fmt::format("One of {}", fmt::join(type_names(), ", ")))->required();
    command.add_flag("--pure", o->pure,
                     "TYPE for the output matrix too, which otherwise gets Q6_K under every type below Q8_0");
    command.add_flag("--requantize", o->requantize, "Also from a model that is quantized already, adding to its error");
    command.add_option("-t,--threads", o->n_threads, "Threads; 0: all cores")
        ->check(number_in(0, kMostThreads))
        ->capture_default_str();
    return [o] { return quantize_model(*o); };
}

}  // namespace vigil::program
