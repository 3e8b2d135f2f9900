#include "runtime/chat/session.h"

#include <fmt/format.h>
#include <limits>
#include <stdexcept>
#include <utility>

#include "runtime/chat/message_reader.h"

namespace vigil::chat {
namespace {

// Why there is no answer.
class Refusal : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

constexpr const char* kPrompt = "> ";
constexpr const char* kContinuation = ". ";
// How soon Ctrl-C is seen while no token comes.
constexpr std::chrono::milliseconds kLook{20};

constexpr const char* kHelp =
    R"(A line is a message. A line that ends with \ goes on with the next; """ begins and ends a message of several lines.
/system TEXT   set the system message, for the answers from now on; without TEXT: none
/reset         forget the conversation, but not the system message
/regen         generate the last answer anew
/save FILE     write the conversation as JSON
/load FILE     go on with a conversation that was saved
/stats         what the last answer took, and how full the context is
/help          this list
/exit          leave; so does Ctrl-D
//TEXT         send a message that begins with /
Ctrl-C stops an answer. At the prompt it drops the line, and twice in a row it leaves.)";

// "name argument" as two.
std::pair<std::string, std::string> split(const std::string& text) {
    const std::size_t space = text.find_first_of(" \t");
    if (space == std::string::npos) return {text, {}};
    const std::size_t begin = text.find_first_not_of(" \t", space);
    if (begin == std::string::npos) return {text.substr(0, space), {}};
    const std::size_t last = text.find_last_not_of(" \t");
    return {text.substr(0, space), text.substr(begin, last + 1 - begin)};
}

std::string figures(const RequestStatistics& s) {
    std::string text =
        fmt::format("{} prompt tokens, {} of them new; first token after {:.1f} ms; {} tokens", s.prompt_tokens,
                    s.prompt_tokens - s.reused_tokens, s.time_to_first_token_ms, s.generated_tokens);
    if (!s.token_ms.empty())
        text += fmt::format(", {:.1f} tokens/s, {:.3f} ms/token p50, {:.3f} p99", s.tokens_per_second(),
                            percentile(s.token_ms, 50), percentile(s.token_ms, 99));
    return text;
}

}  // namespace

Session::Session(Engine& engine, const ChatTemplate& chat_template, LineReader& lines, Interrupts& interrupts,
                 SessionOptions options)
    : engine_(engine), template_(chat_template), lines_(lines), interrupts_(interrupts), options_(std::move(options)) {
    conversation_.system = options_.system;
}

Session::End Session::run() {
    MessageReader messages;
    bool warned = false;
    for (;;) {
        std::string line;
        std::optional<Input> input;
        const LineEnd end = lines_.next(messages.pending() ? kContinuation : kPrompt, line);
        if (end == LineEnd::kInterrupt) {
            if (!lines_.is_terminal() || warned) return End::kInterrupt;
            messages.clear();
            warned = true;
            options_.note("Ctrl-C once more, Ctrl-D or /exit leaves.");
            continue;
        }
        warned = false;
        input = end == LineEnd::kInput ? messages.finish() : messages.push(line);
        if (input && input->is_command) {
            if (command(input->text) == Next::kExit) return End::kInput;
        } else if (input) {
            send(input->text);
        }
        if (end == LineEnd::kInput) return End::kInput;
    }
}

Session::Next Session::command(const std::string& text) {
    const auto [name, argument] = split(text);
    try {
        if (name == "exit" || name == "quit") return Next::kExit;
        if (name == "help") {
            options_.note(kHelp);
        } else if (name == "system") {
            conversation_.system = argument;
        } else if (name == "reset") {
            conversation_.turns.clear();
            last_.reset();
        } else if (name == "regen") {
            generate_anew();
        } else if ((name == "save" || name == "load") && argument.empty()) {
            refuse(fmt::format("/{} needs the name of a file", name));
        } else if (name == "save") {
            conversation_.save(argument, options_.model, options_.sampling.seed);
            options_.note(fmt::format("{} messages written to {}", conversation_.messages().size(), argument));
        } else if (name == "load") {
            conversation_ = Conversation::load(argument);
            last_.reset();
            options_.note(fmt::format("{} messages read from {}", conversation_.messages().size(), argument));
        } else if (name == "stats") {
            show_statistics();
        } else {
            refuse(
                fmt::format("there is no command /{}; /help lists them, and //{} sends it as a message", name, text));
        }
    } catch (const ConversationError& e) {
        refuse(e.what());
    }
    return Next::kGoOn;
}

void Session::send(const std::string& text) {
    conversation_.turns.push_back({"user", text});
    attempt_ = 0;
    if (!answer()) conversation_.turns.pop_back();
}

void Session::generate_anew() {
    if (conversation_.turns.empty()) return refuse("there is no answer yet that could be generated anew");
    ChatMessage before = std::move(conversation_.turns.back());
    conversation_.turns.pop_back();
    ++attempt_;
    if (!answer()) conversation_.turns.push_back(std::move(before));
}

bool Session::answer() {
    try {
        std::string text = stream(make_prompt());
        conversation_.turns.push_back({"assistant", std::move(text)});
        return true;
    } catch (const Refusal& e) {
        refuse(e.what());
    } catch (const ChatTemplateError& e) {
        refuse(e.what());
    } catch (const TokenizerError& e) {
        refuse(e.what());
    }
    return false;
}

std::vector<Token> Session::make_prompt() const {
    std::vector<Token> prompt = encode_chat(engine_.tokenizer(), template_.render(conversation_.messages()));
    if (prompt.empty()) throw Refusal("the chat template makes nothing of this conversation");
    const auto context = static_cast<std::size_t>(engine_.context_size());
    if (prompt.size() > context)
        throw Refusal(fmt::format(
            "the conversation has {} tokens with this message, the context {}. /reset begins a new one; a shorter "
            "message may fit; or /save it and start again with a larger --ctx-size",
            prompt.size(), context));
    return prompt;
}

std::string Session::stream(std::vector<Token> prompt) {
    const auto n_prompt = static_cast<std::int32_t>(prompt.size());
    Request request;
    request.prompt = std::move(prompt);
    request.sampling = options_.sampling;
    request.sampling.seed += attempt_;
    request.max_new_tokens = options_.n_predict < 0 ? std::numeric_limits<std::int32_t>::max() : options_.n_predict;
    request.stop = options_.stop;
    Generation generation = engine_.submit(std::move(request));
    std::string text;
    for (;;) {
        if (interrupts_.take()) generation.cancel();
        if (!generation.wait_for(kLook)) continue;
        const auto token = generation.next();
        if (!token) break;
        options_.write(token->text);
        text += token->text;
    }
    options_.write("\n");
    last_ = {generation.reason(), generation.statistics()};
    if (generation.reason() == FinishReason::kFault) {
        if (lines_.is_terminal()) throw Refusal(generation.error());
        throw std::runtime_error(generation.error());
    }
    std::string line = figures(last_->statistics);
    if (generation.reason() == FinishReason::kCancelled) line += "; stopped";
    options_.report(line);
    if (generation.reason() == FinishReason::kLength &&
        n_prompt + last_->statistics.generated_tokens > engine_.context_size())
        options_.note(
            fmt::format("The context of {} tokens is full. /reset begins a new conversation; or /save this one "
                        "and start again with a larger --ctx-size.",
                        engine_.context_size()));
    return text;
}

void Session::refuse(const std::string& text) const {
    options_.note("vigil: " + text);
}

void Session::show_statistics() const {
    const host::DeviceInfo& device = engine_.device_info();
    std::string text = fmt::format("{} ({}); {}\n{} messages", device.name, device.architecture, template_.origin(),
                                   conversation_.messages().size());
    if (last_) {
        const RequestStatistics& s = last_->statistics;
        text += fmt::format(
            "; {} of {} tokens of context used\nlast answer: {}\nits prompt: {} tokens reused, {} "
            "prefilled, {} fed inside the kernel",
            s.prompt_tokens + s.generated_tokens, engine_.context_size(), figures(s), s.reused_tokens,
            s.prefilled_tokens, s.fed_tokens);
    }
    options_.note(text);
}

}  // namespace vigil::chat
