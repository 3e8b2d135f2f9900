#include "runtime/vigil/options.h"

#include <fmt/format.h>
#include <random>

#include "runtime/vigil/checks.h"
#include "runtime/vigil/messages.h"
#include "runtime/vigil/progress.h"

namespace vigil::program {
namespace {

constexpr double kMaxTemperature = 1e6;
constexpr double kMaxPenalty = 1000;
constexpr int kMaxThreads = 4096;

CLI::Validator device_name() {
    return {[](const std::string& text) {
                int index = 0;
                const bool numbered = text.starts_with("cuda:") && parse_number(text.substr(5), index) && index >= 0;
                if (text == "auto" || text == "cpu" || text == "cuda" || numbered) return std::string();
                return fmt::format("expected auto, cpu, cuda or cuda:N, not '{}'", text);
            },
            "auto|cuda[:N]|cpu"};
}

CLI::Validator seed_number() {
    return {[](const std::string& text) {
                std::uint64_t value = 0;
                if (text == "-1" || parse_number(text, value)) return std::string();
                return fmt::format("expected -1 or an integer from 0 to 2^64 - 1, not '{}'", text);
            },
            ""};
}

}  // namespace

void add_model_path(CLI::App& command, std::string& path) {
    command.add_option("MODEL", path, "GGUF file; of a split model any of its files")->required();
}

void add_pre_tokenizer(CLI::App& command, std::string& name) {
    command
        .add_option("--pre", name,
                    "Read the vocabulary with this pre-tokenizer, or as 'spm', instead of as the file says")
        ->check(not_empty());
}

void add_device_options(CLI::App& command, EngineOptions& options) {
    command.add_option("--device", options.device, "Where to run; auto: a GPU that fits, else the CPU")
        ->check(device_name())
        ->capture_default_str();
    command.add_option("-t,--threads", options.cpu_threads, "Threads of the CPU device; 0: all cores")
        ->check(number_in(0, kMaxThreads))
        ->capture_default_str();
}

void add_model_options(CLI::App& command, ModelOptions& options) {
    add_model_path(command, options.path);
    command.add_option("-c,--ctx-size", options.engine.ctx_size, "Context in tokens; 0: the model's own, at most 4096")
        ->check(integer_from(0))
        ->capture_default_str();
    add_device_options(command, options.engine);
    command.add_option("--dispatch", options.dispatch, "The resident kernel (persistent), or what it is compared with")
        ->check(one_of({"persistent", "graph", "launch"}))
        ->capture_default_str();
    command.add_flag("--no-cublas", options.no_cublas, "Read prompts with vigil's own matrix multiplication");
    add_pre_tokenizer(command, options.pre_tokenizer);
}

Engine load_engine(const ModelOptions& options, std::int32_t logits_rows) {
    ProgressBar progress("loading", "B", stderr_is_terminal());
    EngineOptions engine = options.engine;
    engine.dispatch = dispatch_named(options.dispatch);
    engine.use_cublas = !options.no_cublas;
    engine.logits_rows = logits_rows;
    if (!options.pre_tokenizer.empty()) engine.pre_tokenizer = options.pre_tokenizer;
    engine.on_load = [&progress](std::size_t done, std::size_t total) { progress.update(done, total); };
    engine.on_warning = [](const std::string& text) { say(fmt::format("vigil: warning: {}\n", text)); };
    return Engine::load(options.path, engine);
}

void add_sampling_options(CLI::App& command, SamplingOptions& options) {
    SamplingParams& p = options.params;
    const auto add = [&](const char* name, auto& value, const char* text, const CLI::Validator& check) {
        command.add_option(name, value, text)->check(check)->capture_default_str();
    };
    add("--temp", p.temperature, "Temperature; 0: always the likeliest token", number_in(0.0, kMaxTemperature));
    add("--top-k", p.top_k, "Only the K likeliest tokens; 0: all", integer_from(0));
    add("--top-p", p.top_p, "Only the likeliest tokens that together have this probability; 1: all",
        number_in(0.0, 1.0));
    add("--min-p", p.min_p, "Only tokens with this part of the likeliest one's probability; 0: all",
        number_in(0.0, 1.0));
    add("--repeat-penalty", p.repeat_penalty, "Penalty of tokens that came already; 1: none",
        number_in(0.001, kMaxPenalty));
    add("--presence-penalty", p.presence_penalty, "Taken once from the logit of a token that came already",
        number_in(-kMaxPenalty, kMaxPenalty));
    add("--frequency-penalty", p.frequency_penalty, "Taken from a token's logit for each time it came",
        number_in(-kMaxPenalty, kMaxPenalty));
    add("--repeat-last-n", p.penalty_last_n, "Tokens that penalties look back over; 0: none, -1: all of the context",
        integer_from(-1));
    add("--seed", options.seed, "Seed of the sampler; -1: a random one", seed_number());
}

SamplingParams choose_seed(const SamplingOptions& options) {
    SamplingParams result = options.params;
    if (options.seed == "-1")
        result.seed = std::random_device{}();  // 32 bits, as llama.cpp's: easy to type again
    else
        parse_number(options.seed, result.seed);
    return result;
}

void add_encoding_options(CLI::App& command, EncodingOptions& options) {
    command.add_flag("--no-bos", options.no_bos, "Without the BOS that the model asks for");
    command.add_flag("--no-special", options.no_special, "Special tokens in the text are plain text");
}

}  // namespace vigil::program
