// The public API: load a model, submit requests from any thread, iterate their tokens.
//
//     vigil::Engine engine = vigil::Engine::load("model.gguf", {});
//     vigil::Generation answer = engine.submit({.prompt = engine.tokenizer().encode("Once upon a time")});
//     while (auto token = answer.next()) std::cout << token->text;
//
// Requests run one after the other in the order of submission, each streaming to its own Generation. Of the last
// EngineOptions::parallel conversations the KV cache remembers what they consist of: a request that begins like one of
// them goes on from where the two part.
// Before the kernel runs, errors are exceptions; from then on they are data: a Generation that failed says why.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/model.h"
#include "host/device.h"
#include "host/tokenizer/tokenizer.h"
#include "ringbuf/messages.h"
#include "runtime/statistics.h"
#include "runtime/trace.h"

namespace vigil {

using host::Dispatch;
using ring::FinishReason;
using ring::SamplingParams;

struct EngineOptions {
    std::string device = "auto";  // auto, cuda, cuda:N, cpu
    Dispatch dispatch = Dispatch::persistent;
    // Positions in the KV cache, shared equally among the conversations; 0: for each of them the model's own, at most
    // 4096.
    std::int32_t ctx_size = 0;
    std::int32_t parallel = 1;  // conversations that the KV cache remembers; the least recently used goes first
    bool use_cublas = true;
    // False: prompts are hardly ever prefilled, so cuBLAS is opened in the first one that is and not when loading.
    bool prefills = true;
    int cpu_threads = 0;                       // 0: all cores
    int blocks = 0;                            // 0: the machine's choice
    std::optional<std::string> pre_tokenizer;  // instead of the file's tokenizer.ggml.pre
    std::int32_t logits_rows = 0;              // rows a scoring request may ask logits for; 0: none
    TraceOptions trace;                        // generated tokens whose timeline is recorded; by default none
    // Prompts with more tokens than this to feed before their last are prefilled with the kernel parked; shorter ones
    // run inside it.
    std::int32_t in_kernel_prompt = -1;         // below 0: what suits machine and model
    std::chrono::milliseconds idle_park{2000};  // an idle kernel leaves the GPU after this long
    std::chrono::milliseconds lease{2000};      // a kernel whose host shows no life for this long leaves
    std::chrono::milliseconds deadline{2000};   // any other wait of the kernel, and of the host on it
    std::function<void(std::size_t done_bytes, std::size_t total_bytes)> on_load;
    std::function<void(const std::string&)> on_warning;
};

struct Request {
    std::vector<Token> prompt;  // not empty
    SamplingParams sampling;
    std::int32_t max_new_tokens = 128;
    bool ignore_eos = false;
    std::vector<std::string> stop;  // texts that end the generation; they are not part of it
    // Takes what the KV cache holds of the prompt from there. With false no more than n_cached positions are.
    bool reuse_prefix = true;
    // The first positions of the prompt that are not scored: so perplexity scores a window in pieces. They are taken
    // from the KV cache, or prefilled if another conversation has driven them out.
    std::int32_t n_cached = 0;
    // With each token the so many most probable ones of the unmodified distribution, at most kMaxTopLogprobs.
    std::int32_t top_logprobs = 0;
    bool score = false;        // no generation: the log-probability of every prompt token after n_cached
    bool emit_logits = false;  // with score: Engine::logits_row() holds the rows until the next request is submitted
};

constexpr std::int32_t kMaxTopLogprobs = ring::kMaxAlternatives;

// A token that might have come instead.
struct TokenAlternative {
    Token id = 0;
    float logprob = 0.0f;
};

struct TokenResult {
    Token id = 0;
    std::string text;           // what became printable with this token; may be empty
    float logprob = 0.0f;       // natural log, of the unmodified distribution
    std::uint64_t time_ns = 0;  // device clock
    // Request::top_logprobs of them, the most probable first, the lower id among equals.
    std::vector<TokenAlternative> alternatives;
};

// One request under way. Movable; destroying it cancels what is left.
class Generation {
   public:
    Generation(Generation&&) noexcept;
    Generation& operator=(Generation&&) noexcept;
    ~Generation();

    // The next token, or nothing when the generation has ended. Blocks, at most for the engine's deadlines.
    std::optional<TokenResult> next();
    // True if next() would not block, at the latest after `time`: for a caller that has something else to look at, such
    // as whether its client is still there.
    bool wait_for(std::chrono::milliseconds time);
    // Ends it: next() hands out what is there and then nothing; the kernel drops the job within one token. May be
    // called from any thread and from a signal-safe flag's reader.
    void cancel();

    // After next() returned nothing:
    FinishReason reason() const;       // kStopToken also for a stop text
    bool stopped_by_text() const;      // one of Request::stop was found
    const std::string& error() const;  // empty unless reason() is kFault
    const RequestStatistics& statistics() const;

   private:
    friend class Engine;
    struct State;
    explicit Generation(std::shared_ptr<State> state);
    std::shared_ptr<State> state_;
};

class Engine {
   public:
    // Throws gguf::Error, TokenizerError or host::DeviceError with everything there is to say.
    static Engine load(const std::filesystem::path& model, const EngineOptions& options);
    // The same on a device that the caller made; `options` says nothing of it.
    static Engine load(const std::filesystem::path& model, const EngineOptions& options,
                       std::unique_ptr<host::Device> device);

    Engine(Engine&&) noexcept;
    Engine& operator=(Engine&&) noexcept;
    ~Engine();  // cancels what is under way and stops the kernel; bounded by the deadlines

    // From any thread. Throws std::invalid_argument naming field and value if the request can't run on this engine.
    Generation submit(Request request);

    const Tokenizer& tokenizer() const noexcept;
    const device::ModelConfig& config() const noexcept;  // max_seq_len: positions of all conversations together
    // Positions of one conversation: prompt and answer, the last token of which needs none.
    std::int32_t context_size() const noexcept;
    const host::DeviceInfo& device_info() const noexcept;
    Dispatch dispatch() const noexcept;
    std::size_t weight_bytes() const noexcept;
    const char* gemm_name() const noexcept;
    // Logits of fed position n_cached + row of the last scoring request, [vocab_size].
    std::span<const float> logits_row(std::int32_t row) const;

    // The kernel leaves the GPU at the next token boundary, and comes back with the next request or resume().
    // Generations stand still meanwhile. Throws host::DeviceError if it does not leave in time. Nothing to do under
    // graph and launch dispatch.
    void park();
    void resume();
    EngineStatistics statistics() const;
    // The timeline of the last request's tokens that EngineOptions::trace names, once that request has ended. Parks the
    // kernel, and throws as park().
    Trace trace();

   private:
    struct Impl;
    explicit Engine(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace vigil
