// One request on its way through the engine: waits for its turns, runs its prompts one after the other, and ends early
// when its client goes, the server stops or its time is over.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "runtime/serve/connection.h"
#include "runtime/serve/parameters.h"
#include "runtime/serve/service.h"

namespace vigil::serve {

// How a generation ended, and what it took.
struct Ending {
    const char* finish_reason = "stop";  // OpenAI's "stop" or "length"
    RequestStatistics statistics;
    double queue_ms = 0;                     // from the whole request to its turn
    double accepted_to_submitted_us = 0;     // the server's own part of that: without waiting for others
    std::vector<double> token_to_socket_us;  // from a token's arrival to the end of its write, if streamed
};

class Answer {
   public:
    // `prompts`: each not empty and within the context. `connection` must outlive it.
    Answer(Service& service, Parameters parameters, std::vector<std::vector<Token>> prompts, Connection& connection);

    const Parameters& parameters() const { return parameters_; }
    const std::vector<std::vector<Token>>& prompts() const { return prompts_; }

    // Waits for a turn and gives the engine the next prompt; false if there is none left. Throws ApiError: 429 if too
    // many wait, 503 if the server stops or time is over, 400 for what the engine refuses. Throws ClientGone.
    bool begin_next();
    // The next token of the prompt that was begun; nothing at its end, when the turn has passed to the next request.
    std::optional<TokenResult> next();
    // The bytes of the last token have been written.
    void sent();
    // Of the prompt that has ended. Throws ApiError if the engine failed or the server stops; ClientGone.
    const Ending& ending();
    // The client does not take what is sent.
    void abandon() { cancellation_.request(Cancellation::Why::client_gone); }

   private:
    using Clock = Connection::Clock;

    void check_cancelled() const;
    // From now on it is noticed if the client goes. Telling the kernel takes some microseconds, so it is done when
    // there is something to wait for.
    void watch_client();
    Turns::Turn await_turn();

    Service& service_;
    Connection& connection_;
    const Parameters parameters_;
    const std::vector<std::vector<Token>> prompts_;
    const Clock::time_point deadline_;
    Cancellation cancellation_;
    const Requests::Entry entry_;
    std::optional<PeerWatch::Scope> watch_;
    std::size_t begun_ = 0;  // prompts
    Clock::time_point asked_;
    Clock::time_point token_arrived_;
    std::optional<Turns::Turn> turn_;
    std::optional<Generation> generation_;
    std::optional<Cancellation::Scope> cancels_;
    Ending ending_;
};

// The client has gone: there is nobody to answer.
class ClientGone {};

}  // namespace vigil::serve
