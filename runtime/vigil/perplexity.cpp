// vigil perplexity: how well the model foresees a text.
//
// The text is tokenised once as a whole, so BOS, where the model asks for it, stands only at its beginning. It is cut
// into windows of the context size without overlap; every token of a window but its first is counted.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/vigil/checks.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/interrupt.h"
#include "runtime/vigil/json.h"
#include "runtime/vigil/messages.h"
#include "runtime/vigil/options.h"
#include "runtime/vigil/output_file.h"
#include "runtime/vigil/progress.h"
#include "runtime/vigil/standard_output.h"
#include "runtime/vigil/text_source.h"

namespace vigil::program {
namespace {

// Tokens scored in one job: bounds the logits that wait in host memory.
constexpr std::int32_t kPiece = 64;
constexpr std::int32_t kDefaultWindow = 512;  // llama.cpp's

struct PerplexityOptions {
    ModelOptions model;
    std::string text_file;
    std::string logits_file;
    EncodingOptions encoding;
    bool json = false;
};

class Scorer {
   public:
    // `logits` may be null. `interrupt` ends the scoring between two pieces.
    Scorer(Engine& engine, OutputFile* logits, const Interrupt& interrupt)
        : engine_(engine), logits_(logits), interrupt_(interrupt) {}

    // Scores the windows of `tokens` one after the other. False if the user interrupted it.
    bool score(std::span<const Token> tokens, std::size_t window);

    double nll() const { return nll_sum_ / static_cast<double>(n_counted_); }
    std::size_t n_counted() const { return n_counted_; }
    std::size_t n_done() const { return n_done_; }  // tokens, counted or not

   private:
    bool score_window(std::span<const Token> window, ProgressBar& progress, std::size_t total);
    void score_piece(std::span<const Token> prompt, std::int32_t n_cached);
    void write_logits(std::int32_t n_rows);

    Engine& engine_;
    OutputFile* logits_;
    const Interrupt& interrupt_;
    double nll_sum_ = 0;
    std::size_t n_counted_ = 0;
    std::size_t n_done_ = 0;
};

bool Scorer::score(std::span<const Token> tokens, std::size_t window) {
    ProgressBar progress("scoring", "tokens", stderr_is_terminal());
    for (std::size_t begin = 0; begin < tokens.size(); begin += window) {
        const std::size_t n = std::min(window, tokens.size() - begin);
        // A lone last token has nothing to be counted, but logits.
        if (n < 2 && logits_ == nullptr) break;
        if (!score_window(tokens.subspan(begin, n), progress, tokens.size())) return false;
    }
    return true;
}

bool Scorer::score_window(std::span<const Token> window, ProgressBar& progress, std::size_t total) {
    const auto n = static_cast<std::int32_t>(window.size());
    // The last token of a piece can't say what follows it before that is known: the next piece feeds it again.
    for (std::int32_t begin = 0;;) {
        if (interrupt_.interrupted()) return false;
        const std::int32_t end = std::min(begin + kPiece, n);
        score_piece(window.first(static_cast<std::size_t>(end)), begin);
        const std::int32_t n_rows = end == n ? end - begin : end - begin - 1;
        if (logits_ != nullptr) write_logits(n_rows);
        n_done_ += static_cast<std::size_t>(n_rows);
        progress.update(n_done_, total);
        if (end == n) return true;
        begin = end - 1;
    }
}

void Scorer::score_piece(std::span<const Token> prompt, std::int32_t n_cached) {
    Request request;
    request.prompt.assign(prompt.begin(), prompt.end());
    request.n_cached = n_cached;
    request.max_new_tokens = 0;
    request.score = true;
    request.emit_logits = logits_ != nullptr;
    Generation generation = engine_.submit(std::move(request));
    std::size_t n_scored = 0;
    while (const auto token = generation.next()) {
        nll_sum_ -= static_cast<double>(token->logprob);
        ++n_scored;
    }
    if (generation.reason() != FinishReason::kLength)
        throw std::runtime_error(generation.error().empty() ? "scoring ended early" : generation.error());
    const std::size_t expected = prompt.size() - static_cast<std::size_t>(n_cached) - 1;
    if (n_scored != expected)
        throw std::runtime_error(
            fmt::format("scoring gave {} log-probabilities where {} were due", n_scored, expected));
    n_counted_ += n_scored;
}

void Scorer::write_logits(std::int32_t n_rows) {
    for (std::int32_t row = 0; row < n_rows; ++row) {
        logits_->write(std::as_bytes(engine_.logits_row(row)));
    }
}

void print_result(const Scorer& scorer, bool json) {
    const double nll = scorer.nll();
    const double perplexity = std::exp(nll);
    write_out(json ? json_line({{"nll", nll}, {"perplexity", perplexity}, {"tokens", scorer.n_counted()}})
                   : fmt::format("nll {:.6f}  perplexity {:.4f}  tokens {}\n", nll, perplexity, scorer.n_counted()));
}

int perplexity(const PerplexityOptions& o) {
    if (o.model.engine.ctx_size == 1) throw UsageError("--ctx-size 1: a window needs at least 2 tokens");
    Interrupt interrupt;
    const std::string text = read_text(o.text_file);
    std::optional<OutputFile> logits;
    if (!o.logits_file.empty()) logits.emplace(o.logits_file);
    ModelOptions model = o.model;
    model.engine.prefills = false;  // the kernel feeds all that it scores
    Engine engine = load_engine(model, logits ? kPiece : 0);
    const std::vector<Token> tokens = engine.tokenizer().encode(text, o.encoding.encode());
    if (tokens.size() < 2)
        throw std::runtime_error(
            fmt::format("{}: {} tokens; at least 2 are needed to count one", o.text_file, tokens.size()));

    Scorer scorer(engine, logits ? &*logits : nullptr, interrupt);
    const Interrupt::Scope remembers(interrupt, [] {});
    if (!scorer.score(tokens, static_cast<std::size_t>(engine.config().max_seq_len))) {
        say(fmt::format("vigil: interrupted after {} of {} tokens\n", scorer.n_done(), tokens.size()));
        return kInterrupted;
    }
    if (logits) logits->commit();
    print_result(scorer, o.json);
    return kSuccess;
}

}  // namespace

Action add_perplexity(CLI::App& app) {
    const auto o = std::make_shared<PerplexityOptions>();
    o->model.engine.ctx_size = kDefaultWindow;
    CLI::App& command = *app.add_subcommand("perplexity", "Mean negative log-likelihood and perplexity of a text");
    add_model_options(command, o->model);
    command
        .add_option("FILE", o->text_file,
                    "Text to score, in windows of the context size without overlap; '-': standard input")
        ->required();
    command.add_option("--logits-out", o->logits_file, "File for the logits, float32 [n_tokens, vocab_size]")
        ->check(not_empty());
    add_encoding_options(command, o->encoding);
    command.add_flag("--json", o->json, "One JSON object: nll, perplexity, tokens");
    return [o] { return perplexity(*o); };
}

}  // namespace vigil::program
