// The conversation in a terminal or through pipes: reads messages and commands, streams answers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/chat/chat_template.h"
#include "runtime/chat/conversation.h"
#include "runtime/chat/interrupts.h"
#include "runtime/chat/line_reader.h"
#include "runtime/engine.h"

namespace vigil::chat {

struct SessionOptions {
    std::string model;  // its name, for saved conversations
    std::string system;
    SamplingParams sampling;      // the seed of every answer; of one generated anew the next one
    std::int32_t n_predict = -1;  // tokens of an answer at most; -1: what the context holds
    std::vector<std::string> stop;
    std::function<void(std::string_view)> write;     // an answer, piece by piece
    std::function<void(const std::string&)> note;    // a line for the user
    std::function<void(const std::string&)> report;  // a line of figures
};

class Session {
   public:
    enum class End { kInput, kInterrupt };

    // All that is passed must outlive it.
    Session(Engine& engine, const ChatTemplate& chat_template, LineReader& lines, Interrupts& interrupts,
            SessionOptions options);

    // Until the input ends, /exit, or Ctrl-C: on a terminal twice in a row at the prompt, else at once. Throws
    // std::runtime_error if an answer fails and there is nobody at a terminal to tell.
    End run();

   private:
    enum class Next { kGoOn, kExit };

    Next command(const std::string& text);
    void send(const std::string& text);
    void generate_anew();
    // The answer to the last message becomes part of the conversation. False if there can be none; the user knows why.
    bool answer();
    std::vector<Token> make_prompt() const;
    // Streams the answer to `prompt`; its text.
    std::string stream(std::vector<Token> prompt);
    // Tells what can't be done and why.
    void refuse(const std::string& text) const;
    void show_statistics() const;

    Engine& engine_;
    const ChatTemplate& template_;
    LineReader& lines_;
    Interrupts& interrupts_;
    const SessionOptions options_;

    Conversation conversation_;
    std::uint64_t attempt_ = 0;  // of the answer under way: 0, or how often it was asked for anew
    struct Answer {
        FinishReason reason = FinishReason::kNone;
        RequestStatistics statistics;
    };
    std::optional<Answer> last_;
};

}  // namespace vigil::chat
