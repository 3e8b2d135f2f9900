// All that one `vigil bench` measures: every model on every grid, by depth, test and dispatch.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/bench/report.h"

namespace vigil::bench {

struct SuiteOptions {
    std::vector<std::string> models;    // GGUF files
    std::vector<std::int32_t> prompts;  // tokens; each is a test
    std::vector<std::int32_t> tokens;   // tokens to generate; each is a test
    std::vector<std::int32_t> depths;   // positions in the cache before every test
    std::int32_t repetitions = 5;
    std::int32_t n_warmup = 64;  // tokens generated before the timed ones
    std::int32_t n_jobs = 0;     // jobs to time from submission on; 0: none
    std::vector<host::Dispatch> dispatches;
    std::vector<std::int32_t> blocks{0};  // of the grid; 0: the device's choice
    std::string device = "auto";          // see choose_device
    int cpu_threads = 0;
    bool use_cublas = true;
    ring::SamplingParams sampling;
    // Memory to measure the read ceiling over; 0: not measured; nothing: what suits the device.
    std::optional<double> read_gib;
    TraceOptions trace;  // of the last repetition of each test that generates tokens
    std::function<void(const std::string& line)> on_progress;
    std::function<void(std::size_t done_bytes, std::size_t total_bytes)> on_load;
    std::function<void(const std::string&)> on_warning;
};

class Suite {
   public:
    // `context` says where and how; the suite adds device, ceiling and sampling.
    Suite(SuiteOptions options, RunContext context);

    // Measures until all is done or interrupt() was called. What fails ends the tests of its grid or model, not the
    // run: ModelFigures::error says what it was. Throws host::DeviceError if the device or its read ceiling fails.
    void run();
    // From any thread: the test under way ends without a result.
    void interrupt() { interrupted_ = true; }

    const RunContext& context() const noexcept { return context_; }
    const std::vector<ModelFigures>& models() const noexcept { return models_; }
    const std::vector<Trace>& traces() const noexcept { return traces_; }
    // The positions of the KV cache that the deepest test needs.
    std::int64_t positions_needed() const;

   private:
    void measure_ceiling(host::Device& device);
    void measure_model(const std::string& path, host::Device& device);
    void measure_grid(const host::Model& model, ModelFigures& figures, std::int32_t n_blocks, host::Device& device);
    void measure_prompts(Rig& rig, ModelFigures& figures, std::int32_t depth);
    void measure_tokens(Rig& rig, ModelFigures& figures, std::int32_t depth);
    TokenTest token_test(std::int32_t depth, std::int32_t n_tokens) const;
    PromptTest prompt_test(std::int32_t depth, std::int32_t n_prompt) const;

    const SuiteOptions options_;
    RunContext context_;
    std::atomic<bool> interrupted_{false};
    std::vector<ModelFigures> models_;
    std::vector<Trace> traces_;
};

}  // namespace vigil::bench
