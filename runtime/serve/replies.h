// The JSON of answers: OpenAI's objects for chats and completions, whole or in pieces, with what this engine adds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/serve/answer.h"
#include "runtime/serve/json.h"
#include "runtime/serve/parameters.h"

namespace vigil::serve {

// The log-probabilities of a choice's tokens, in the form of its endpoint.
class LogprobList {
   public:
    LogprobList(const Tokenizer& tokenizer, bool chat) : tokenizer_(tokenizer), chat_(chat) {}

    // `offset`: where the token's text begins in the choice's text, in bytes.
    void add(const TokenResult& token, std::size_t offset);
    Json take();  // what was added since the last call

   private:
    Json token_object(Token id, float logprob) const;

    const Tokenizer& tokenizer_;
    const bool chat_;
    Json list_ = Json::array();
    Json tokens_ = Json::array(), logprobs_ = Json::array(), tops_ = Json::array(), offsets_ = Json::array();
};

// Sums over the choices of one request.
struct Usage {
    std::int32_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
    void add(const RequestStatistics& statistics);
    Json json() const;
};

Json timings(const Ending& ending);

// Everything that the objects of one answer have in common.
class Replies {
   public:
    Replies(bool chat, std::string model);

    struct Choice {
        std::string text;
        Json logprobs;  // null: none were asked for
        const char* finish_reason = "stop";
    };
    // An answer that is not streamed. `all_timings`: of each choice; one stands as an object.
    Json whole(const std::vector<Choice>& choices, const Usage& usage, const std::vector<Json>& all_timings) const;

    // Pieces of a stream.
    Json opening(std::size_t choice) const;  // chat: who speaks
    Json piece(std::size_t choice, const std::string& text, Json logprobs) const;
    Json closing(std::size_t choice, const char* finish_reason, Json timings) const;
    Json usage(const Usage& usage) const;

   private:
    Json frame(const char* object) const;
    Json chunk(Json choice) const;

    const bool chat_;
    const std::string id_;
    const std::string model_;
    const std::int64_t created_;
};

}  // namespace vigil::serve
