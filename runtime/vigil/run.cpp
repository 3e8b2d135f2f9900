// vigil run: continues a prompt and streams what the model says.
#include <fmt/format.h>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runtime/vigil/checks.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/generation_output.h"
#include "runtime/vigil/interrupt.h"
#include "runtime/vigil/options.h"
#include "runtime/vigil/text_source.h"
#include "runtime/vigil/trace_file.h"

namespace vigil::program {
namespace {

struct RunOptions {
    ModelOptions model;
    SamplingOptions sampling;
    PromptFlags prompt;
    TraceFlags trace;
    std::int32_t n_predict = 128;
    std::vector<std::string> stop;
    bool ignore_eos = false;
    bool json = false;
};

Request make_request(const RunOptions& o, const Engine& engine, const std::string& prompt) {
    Request request;
    request.prompt = engine.tokenizer().encode(prompt);
    if (request.prompt.empty()) throw UsageError("the prompt is empty, and the model asks for no BOS to begin with");
    const std::int32_t context = engine.config().max_seq_len;
    if (request.prompt.size() > static_cast<std::size_t>(context))
        throw std::runtime_error(
            fmt::format("the prompt has {} tokens, the context (--ctx-size) {}", request.prompt.size(), context));
    request.sampling = choose_seed(o.sampling);
    request.max_new_tokens = o.n_predict < 0 ? std::numeric_limits<std::int32_t>::max() : o.n_predict;
    request.ignore_eos = o.ignore_eos;
    request.stop = o.stop;
    return request;
}

int run(const RunOptions& o) {
    if (o.n_predict >= 0) check_trace(o.trace, o.n_predict);
    Interrupt interrupt;
    const std::string prompt = o.prompt.read();
    std::optional<OutputFile> trace_file = open_trace(o.trace);
    ModelOptions model = o.model;
    model.engine.trace = o.trace.options();
    Engine engine = load_engine(model);
    Request request = make_request(o, engine, prompt);
    const std::uint64_t seed = request.sampling.seed;
    const GenerationOutput output(o.json);
    Generation generation = engine.submit(std::move(request));
    {
        const Interrupt::Scope cancels(interrupt, [&generation] { generation.cancel(); });
        while (const auto token = generation.next()) output.token(*token);
    }
    output.summary(engine, generation, seed);
    if (generation.reason() == FinishReason::kFault) throw std::runtime_error(generation.error());
    if (trace_file) write_trace(*trace_file, std::vector{engine.trace()});
    return interrupt.interrupted() ? kInterrupted : kSuccess;
}

}  // namespace

Action add_run(CLI::App& app) {
    const auto o = std::make_shared<RunOptions>();
    CLI::App& command = *app.add_subcommand("run", "Continue a prompt");
    add_model_options(command, o->model);
    add_prompt_flags(command, o->prompt);
    command.add_option("-n,--n-predict", o->n_predict, "Tokens to generate; -1: until the context is full")
        ->check(integer_from(-1))
        ->capture_default_str();
    add_sampling_options(command, o->sampling);
    add_trace_flags(command, o->trace);
    command.add_option("--stop", o->stop, "Text that ends the generation; may be given several times")
        ->check(not_empty())
        ->take_all()
        ->allow_extra_args(false);
    command.add_flag("--ignore-eos", o->ignore_eos, "Go on after the model has said that it is done");
    command.add_flag("--json", o->json, "One JSON object per line: each token, then the summary");
    return [o] { return run(*o); };
}

}  // namespace vigil::program
