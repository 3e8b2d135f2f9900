#include "runtime/serve/completions_api.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <memory>
#include <string_view>
#include <utility>

#include "runtime/serve/answer.h"
#include "runtime/serve/replies.h"

namespace vigil::serve {
namespace {

// nginx's: the client closed the connection before its answer. Only the log sees it.
constexpr int kClientGone = 499;
constexpr double kLongestRetry = 60;

std::vector<Token> tokenize(const Service& service, const Prompt& prompt) {
    if (const auto* text = std::get_if<std::string>(&prompt)) return service.engine.tokenizer().encode(*text);
    const auto& tokens = std::get<std::vector<Token>>(prompt);
    const std::int32_t vocabulary = service.engine.config().vocab_size;
    for (const Token token : tokens)
        if (token >= vocabulary)
            throw invalid_request(fmt::format("prompt has token {}: the vocabulary has {}", token, vocabulary),
                                  "prompt", "invalid_value");
    return tokens;
}

std::vector<Token> render(const Service& service, const std::vector<ChatMessage>& messages) {
    if (service.chat == nullptr)
        throw invalid_request("the model has no chat template: the server can be given one with --chat-template",
                              "messages", "no_chat_template");
    try {
        return encode_chat(service.engine.tokenizer(), service.chat->render(messages));
    } catch (const ChatTemplateError& error) {
        throw invalid_request(error.what(), "messages", "chat_template_error");
    }
}

std::vector<std::vector<Token>> all_prompts(const Service& service, const Parameters& p) {
    std::vector<std::vector<Token>> prompts;
    if (p.chat) prompts.push_back(render(service, p.messages));
    for (const Prompt& prompt : p.prompts) prompts.push_back(tokenize(service, prompt));
    const auto context = static_cast<std::size_t>(service.engine.context_size());
    for (const std::vector<Token>& prompt : prompts) {
        if (prompt.empty())
            throw invalid_request("a prompt is empty, and the model asks for no token to begin with",
                                  p.chat ? "messages" : "prompt", "invalid_value");
        if (prompt.size() > context)
            throw invalid_request(fmt::format("the context holds {} tokens, but the {} {}", context,
                                              p.chat ? "messages have" : "prompt has", prompt.size()),
                                  p.chat ? "messages" : "prompt", "context_length_exceeded");
    }
    return prompts;
}

// What `vigil serve` writes behind a request in its log.
void note(Connection& connection, const Ending& ending) {
    const RequestStatistics& s = ending.statistics;
    connection.record.note +=
        fmt::format("{}prompt={} reused={} tokens={} queue={:.1f}ms ttft={:.1f}ms p50={:.3f}ms end={}",
                    connection.record.note.empty() ? "" : "; ", s.prompt_tokens, s.reused_tokens, s.generated_tokens,
                    ending.queue_ms, s.time_to_first_token_ms, percentile(s.token_ms, 50), ending.finish_reason);
}

// The text and log-probabilities of one choice as they come.
class ChoiceText {
   public:
    ChoiceText(const Service& service, const Answer& answer, std::size_t index)
        : wants_logprobs_(answer.parameters().top_logprobs.has_value()),
          logprobs_(service.engine.tokenizer(), answer.parameters().chat) {
        if (answer.parameters().echo) echo_ = service.engine.tokenizer().decode(answer.prompts()[index], false);
        length_ = echo_.size();
    }

    const std::string& echo() const { return echo_; }

    void add(const TokenResult& token) {
        if (wants_logprobs_) logprobs_.add(token, length_);
        length_ += token.text.size();
    }
    Json logprobs() { return wants_logprobs_ ? logprobs_.take() : Json(); }
    bool wants_logprobs() const { return wants_logprobs_; }

   private:
    const bool wants_logprobs_;
    LogprobList logprobs_;
    std::string echo_;
    std::size_t length_ = 0;
};

void answer_whole(Service& service, Exchange& exchange, Answer& the_answer) {
    const Replies replies(the_answer.parameters().chat, service.model_name);
    std::vector<Replies::Choice> choices;
    std::vector<Json> all_timings;
    Usage usage;
    while (the_answer.begin_next()) {
        ChoiceText text(service, the_answer, choices.size());
        Replies::Choice choice{.text = text.echo(), .logprobs = {}};
        while (const auto token = the_answer.next()) {
            choice.text += token->text;
            text.add(*token);
        }
        const Ending& ending = the_answer.ending();
        choice.finish_reason = ending.finish_reason;
        choice.logprobs = text.logprobs();
        usage.add(ending.statistics);
        all_timings.push_back(timings(ending));
        note(exchange.connection, ending);
        choices.push_back(std::move(choice));
    }
    exchange.response.set_json(dump(replies.whole(choices, usage, all_timings)));
}

// An answer as server-sent events. The first prompt has been begun.
class Stream {
   public:
    Stream(Service& service, Connection& connection, std::unique_ptr<Answer> answer)
        : service_(service),
          connection_(connection),
          answer_(std::move(answer)),
          replies_(answer_->parameters().chat, service.model_name) {}

    // Writes all of it to `writer`. False: the client has gone, or does not read.
    bool run(StreamWriter& writer) {
        try {
            std::size_t index = 0;
            do run_choice(writer, index++);
            while (answer_->begin_next());
            if (answer_->parameters().include_usage) write(writer, replies_.usage(usage_));
        } catch (const ClientGone&) {
            connection_.record.note += " client gone";
            return false;
        } catch (const ApiError& error) {
            // The status has been sent: what went wrong can only be an event.
            connection_.record.note += fmt::format(" {}", error.what());
            connection_.close_after_answer();
            write_text(writer, error.json());
        }
        write_text(writer, "[DONE]");
        return true;
    }

   private:
    void run_choice(StreamWriter& writer, std::size_t index) {
        ChoiceText text(service_, *answer_, index);
        if (answer_->parameters().chat) write(writer, replies_.opening(index));
        if (!text.echo().empty()) write(writer, replies_.piece(index, text.echo(), nullptr));
        std::uint64_t last_ns = 0;
        while (const auto token = answer_->next()) {
            text.add(*token);
            const std::uint64_t step_ns = last_ns == 0 ? 0 : token->time_ns - last_ns;
            last_ns = token->time_ns;
            if (token->text.empty() && !text.wants_logprobs() && !answer_->parameters().timings_per_token) continue;
            Json chunk = replies_.piece(index, token->text, text.logprobs());
            if (answer_->parameters().timings_per_token)
                chunk["timings"] = {{"token_ms", static_cast<double>(step_ns) * 1e-6}};
            write(writer, std::move(chunk));
            answer_->sent();
        }
        const Ending& ending = answer_->ending();
        usage_.add(ending.statistics);
        note(connection_, ending);
        write(writer, replies_.closing(index, ending.finish_reason, timings(ending)));
    }

    void write(StreamWriter& writer, Json chunk) {
        // OpenAI's way to say that the figures come at the end.
        if (answer_->parameters().include_usage && !chunk.contains("usage")) chunk["usage"] = nullptr;
        write_text(writer, dump(chunk));
    }

    void write_text(StreamWriter& writer, const std::string& text) {
        // A reader that does not keep up is cut off here; the kernel never waits for it.
        if (!writer.write("data: " + text + "\n\n")) answer_->abandon();
    }

    Service& service_;
    Connection& connection_;
    const std::unique_ptr<Answer> answer_;
    const Replies replies_;
    Usage usage_;
};

void answer_streamed(Service& service, Exchange& exchange, std::unique_ptr<Answer> the_answer) {
    // What can be refused is refused with a status of its own, before the first byte of the stream.
    the_answer->begin_next();
    exchange.response.type = "text/event-stream";
    exchange.response.headers = {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
    const auto stream = std::make_shared<Stream>(service, exchange.connection, std::move(the_answer));
    exchange.response.stream = [stream](StreamWriter& writer) { return stream->run(writer); };
}

void complete(Service& service, Exchange& exchange, Parameters parameters) {
    try {
        std::vector<std::vector<Token>> prompts = all_prompts(service, parameters);
        auto the_answer =
            std::make_unique<Answer>(service, std::move(parameters), std::move(prompts), exchange.connection);
        if (the_answer->parameters().stream)
            answer_streamed(service, exchange, std::move(the_answer));
        else
            answer_whole(service, exchange, *the_answer);
    } catch (const ClientGone&) {
        exchange.response.set_error({kClientGone, "the client has gone", "server_error"});
    } catch (const ApiError& error) {
        if (error.status == 429 || error.status == 503) {
            const double wait_s = service.mean_ms * 1e-3 * static_cast<double>(service.turns.waiting() + 1);
            exchange.response.headers.emplace_back(
                "Retry-After", fmt::format("{:.0f}", std::clamp(std::ceil(wait_s), 1.0, kLongestRetry)));
        }
        throw;
    }
}

}  // namespace

void chat_completions(Service& service, Exchange& exchange) {
    complete(service, exchange, chat_parameters(parse_object(exchange.body, service.limits)));
}

void completions(Service& service, Exchange& exchange) {
    complete(service, exchange, completion_parameters(parse_object(exchange.body, service.limits)));
}

}  // namespace vigil::serve
