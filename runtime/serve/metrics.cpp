#include "runtime/serve/metrics.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <numeric>

namespace vigil::serve {
namespace {

// Seconds. Tokens take from tens of microseconds on a GPU to tenths of a second on a CPU; answers begin within
// milliseconds, or after others.
constexpr std::array kTokenBounds = {0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002,
                                     0.003,  0.005,  0.01,   0.02,   0.05,    0.1,   0.5};
constexpr std::array kAnswerBounds = {0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1,  0.2,
                                      0.5,   1.0,   2.0,   5.0,   10.0, 30.0, 60.0, 300.0};

std::string header(const char* name, const char* type, const char* help) {
    return fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
}

template <class Value>
std::string metric(const char* name, const char* type, const char* help, Value value) {
    return header(name, type, help) + fmt::format("{} {}\n", name, value);
}

}  // namespace

void Histogram::add(double value) {
    const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
    ++counts_[static_cast<std::size_t>(bound - bounds_.begin())];
    sum_ += value;
}

std::string Histogram::lines(const std::string& name) const {
    std::string text;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < bounds_.size(); ++i) {
        below += counts_[i];
        text += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bounds_[i], below);
    }
    below += counts_.back();
    return text + fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, below, sum_);
}

Metrics::Metrics() : first_token_(kAnswerBounds), token_(kTokenBounds), queue_(kAnswerBounds) {}

void Metrics::request(const std::string& path, int status) {
    const std::lock_guard lock(mutex_);
    ++requests_[{path, status}];
}

void Metrics::generation(const RequestStatistics& s, double queue_ms) {
    const std::lock_guard lock(mutex_);
    prompt_tokens_ += static_cast<std::uint64_t>(s.prompt_tokens);
    reused_tokens_ += static_cast<std::uint64_t>(s.reused_tokens);
    generated_tokens_ += static_cast<std::uint64_t>(s.generated_tokens);
    queue_.add(queue_ms * 1e-3);
    if (s.generated_tokens > 0) first_token_.add(s.time_to_first_token_ms * 1e-3);
    for (const double ms : s.token_ms) token_.add(ms * 1e-3);
}

void Metrics::client_gone() {
    const std::lock_guard lock(mutex_);
    ++clients_gone_;
}

void Metrics::rejected() {
    const std::lock_guard lock(mutex_);
    ++rejected_;
}

std::string Metrics::text(const Now& now) const {
    const std::lock_guard lock(mutex_);
    std::string text = header("vigil_http_requests_total", "counter", "HTTP requests answered, by path and status");
    for (const auto& [key, count] : requests_)
        text +=
            fmt::format("vigil_http_requests_total{{path=\"{}\",status=\"{}\"}} {}\n", key.first, key.second, count);
    text += metric("vigil_requests_waiting", "gauge", "Requests that wait for their turn", now.waiting);
    text += metric("vigil_requests_running", "gauge", "Requests whose generation runs", now.running);
    text += metric("vigil_connections", "gauge", "Open connections", now.connections);
    text += metric("vigil_requests_rejected_total", "counter", "Requests refused because too many waited", rejected_);
    text += metric("vigil_clients_gone_total", "counter", "Requests whose client went before their end", clients_gone_);
    text += header("vigil_prompt_tokens_total", "counter", "Prompt tokens, computed or found in the KV cache");
    text += fmt::format("vigil_prompt_tokens_total{{source=\"computed\"}} {}\n", prompt_tokens_ - reused_tokens_);
    text += fmt::format("vigil_prompt_tokens_total{{source=\"reused\"}} {}\n", reused_tokens_);
    text += metric("vigil_generated_tokens_total", "counter", "Tokens generated", generated_tokens_);
    text += header("vigil_queue_seconds", "histogram", "From the whole request to its turn") +
            queue_.lines("vigil_queue_seconds");
    text += header("vigil_time_to_first_token_seconds", "histogram", "From a request's turn to its first token") +
            first_token_.lines("vigil_time_to_first_token_seconds");
    text += header("vigil_token_seconds", "histogram", "Between two tokens of an answer, on the device's clock") +
            token_.lines("vigil_token_seconds");
    text += metric("vigil_kernel_launches_total", "counter", "Launches of the resident kernel", now.engine.launches);
    text += metric("vigil_prefills_total", "counter", "Prompts computed with the kernel parked", now.engine.prefills);
    text += metric("vigil_kernel_tokens_total", "counter", "Tokens fed by the resident kernel", now.engine.tokens);
    return text;
}

}  // namespace vigil::serve
