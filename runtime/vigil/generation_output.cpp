#include "runtime/vigil/generation_output.h"

#include <fmt/format.h>

#include "runtime/statistics.h"
#include "runtime/vigil/json.h"
#include "runtime/vigil/messages.h"
#include "runtime/vigil/options.h"
#include "runtime/vigil/standard_output.h"

namespace vigil::program {
namespace {

const char* reason_of(const Generation& generation) {
    if (generation.stopped_by_text()) return "stop_text";
    switch (generation.reason()) {
        case FinishReason::kStopToken:
            return "stop_token";
        case FinishReason::kLength:
            return "length";
        case FinishReason::kCancelled:
            return "cancelled";
        case FinishReason::kFault:
            return "fault";
        case FinishReason::kNone:
            break;
    }
    return "none";
}

}  // namespace

void GenerationOutput::token(const TokenResult& token) const {
    if (!json_) return write_out(token.text);
    write_out(
        json_line({{"id", token.id}, {"text", token.text}, {"logprob", token.logprob}, {"time_ns", token.time_ns}}));
}

void GenerationOutput::summary(const Engine& engine, const Generation& generation, std::uint64_t seed) const {
    const host::DeviceInfo& device = engine.device_info();
    const RequestStatistics& s = generation.statistics();
    const double p50 = percentile(s.token_ms, 50);
    const double p99 = percentile(s.token_ms, 99);
    if (json_) {
        const Json summary = {{"device", device.name},
                              {"architecture", device.architecture},
                              {"dispatch", name_of(engine.dispatch())},
                              {"gemm", engine.gemm_name()},
                              {"prompt_tokens", s.prompt_tokens},
                              {"prompt_ms", s.prefill_ms},
                              {"time_to_first_token_ms", s.time_to_first_token_ms},
                              {"generated_tokens", s.generated_tokens},
                              {"ms_per_token_p50", p50},
                              {"ms_per_token_p99", p99},
                              {"tokens_per_second", s.tokens_per_second()},
                              {"total_ms", s.total_ms},
                              {"finish_reason", reason_of(generation)},
                              {"seed", seed}};
        return write_out(json_line({{"summary", summary}}));
    }
    write_out("\n");
    say(
        fmt::format("{} ({}), {}: {} prompt tokens in {:.1f} ms, first token after {:.1f} ms, {} tokens generated, "
                    "{:.3f} ms/token p50, {:.3f} p99, {:.1f} tokens/s\n",
                    device.name, device.architecture, name_of(engine.dispatch()), s.prompt_tokens, s.prefill_ms,
                    s.time_to_first_token_ms, s.generated_tokens, p50, p99, s.tokens_per_second()));
}

}  // namespace vigil::program
