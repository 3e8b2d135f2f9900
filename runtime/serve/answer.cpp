#include "runtime/serve/answer.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <stdexcept>
#include <utility>

#include "runtime/serve/api_error.h"

namespace vigil::serve {
namespace {

// Of the running mean of a generation's duration: enough of the past to be steady.
constexpr double kNewPart = 0.2;

double us_between(Connection::Clock::time_point from, Connection::Clock::time_point to) {
    return std::chrono::duration<double, std::micro>(to - from).count();
}

Request make_request(const Parameters& p, const std::vector<Token>& prompt) {
    Request request;
    request.prompt = prompt;
    request.sampling = p.sampling;
    request.max_new_tokens = p.max_tokens.value_or(std::numeric_limits<std::int32_t>::max());
    request.ignore_eos = p.ignore_eos;
    request.stop = p.stop;
    request.top_logprobs = p.top_logprobs.value_or(0);
    return request;
}

}  // namespace

Answer::Answer(Service& service, Parameters parameters, std::vector<std::vector<Token>> prompts, Connection& connection)
    : service_(service),
      connection_(connection),
      parameters_(std::move(parameters)),
      prompts_(std::move(prompts)),
      deadline_(connection.request_arrived() + service.limits.request),
      entry_(service.requests, cancellation_),
      asked_(connection.request_arrived() + connection.waited_for_body()) {}

void Answer::watch_client() {
    if (!watch_) watch_.emplace(service_.peers, connection_.socket(), [this] { abandon(); });
}

void Answer::check_cancelled() const {
    switch (cancellation_.why()) {
        case Cancellation::Why::client_gone:
            service_.metrics.client_gone();
            throw ClientGone();
        case Cancellation::Why::shutting_down:
            throw ApiError(503, "the server is shutting down", "server_error", {}, "shutting_down");
        case Cancellation::Why::time_limit:
        case Cancellation::Why::none:
            break;
    }
}

Turns::Turn Answer::await_turn() {
    if (auto turn = service_.turns.take_if_free()) return std::move(*turn);
    watch_client();
    try {
        auto turn = service_.turns.wait(cancellation_, deadline_,
                                        begun_ == 0 ? Turns::Queue::bounded : Turns::Queue::keep_place);
        if (turn) return std::move(*turn);
    } catch (const QueueFull&) {
        service_.metrics.rejected();
        throw ApiError(429, fmt::format("{} requests wait already", service_.turns.capacity()), "rate_limit_error", {},
                       "queue_full");
    }
    check_cancelled();
    throw ApiError(503, fmt::format("no turn within {} s", service_.limits.request.count() / 1000), "server_error", {},
                   "timeout");
}

bool Answer::begin_next() {
    if (begun_ == prompts_.size()) return false;
    ending_ = {};
    const auto before = Clock::now();
    turn_.emplace(await_turn());
    const auto turn_came = Clock::now();
    ending_.queue_ms = us_between(asked_, turn_came) * 1e-3;
    Request request = make_request(parameters_, prompts_[begun_]);
    // What follows is in the engine's own time to the first token.
    ending_.accepted_to_submitted_us = us_between(asked_, before) + us_between(turn_came, Clock::now());
    try {
        generation_.emplace(service_.engine.submit(std::move(request)));
    } catch (const std::invalid_argument& error) {
        throw invalid_request(error.what());
    }
    cancels_.emplace(cancellation_, [this] { generation_->cancel(); });
    watch_client();
    ++begun_;
    return true;
}

std::optional<TokenResult> Answer::next() {
    if (Clock::now() > deadline_) cancellation_.request(Cancellation::Why::time_limit);
    std::optional<TokenResult> token = generation_->next();
    token_arrived_ = Clock::now();
    if (!token) {
        cancels_.reset();
        turn_.reset();
        asked_ = Clock::now();
    }
    return token;
}

void Answer::sent() {
    ending_.token_to_socket_us.push_back(us_between(token_arrived_, Clock::now()));
}

const Ending& Answer::ending() {
    ending_.statistics = generation_->statistics();
    service_.metrics.generation(ending_.statistics, ending_.queue_ms);
    const double mean = service_.mean_ms;
    service_.mean_ms = mean + kNewPart * (ending_.statistics.total_ms - mean);
    check_cancelled();
    if (generation_->reason() == FinishReason::kFault)
        throw ApiError(500, generation_->error(), "server_error", {}, "engine_fault");
    const bool cut =
        generation_->reason() == FinishReason::kLength || generation_->reason() == FinishReason::kCancelled;
    ending_.finish_reason = cut ? "length" : "stop";
    return ending_;
}

}  // namespace vigil::serve
