// Conversations to the text a model was trained on: chat templates in Jinja, rendered without letting a message's text
// pass for the template's own.
//
// A template comes from the model file (tokenizer.chat_template), from the built-in ones, or from a file. What the
// renderer supports, its limits and how provenance is kept: docs/chat_templates.md.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "host/gguf/gguf.h"
#include "host/tokenizer/tokenizer.h"

namespace vigil {

// A template that cannot be read or rendered. The text names where the template came from, the line, the construct and
// --chat-template as the way out.
class ChatTemplateError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

struct ChatMessage {
    std::string role;  // "system", "user", "assistant", …: the template decides which it knows
    std::string content;
};

// A stretch of rendered text. `is_data`: it came from a message, so no special token may begin, end or lie in it.
struct TemplateSpan {
    std::string text;
    bool is_data = false;
};

class ChatTemplate {
   public:
    // The texts that templates print as bos_token and eos_token; empty where the model has none.
    struct SpecialTexts {
        std::string bos, eos;
    };

    // `name_or_file`: the name of a built-in template, NAME of a tokenizer.chat_template.NAME in the file, or the path
    // of a Jinja template. Without it the file's tokenizer.chat_template. Throws ChatTemplateError if there is none or
    // it does not parse.
    static ChatTemplate from_gguf(const gguf::File& file, const std::optional<std::string>& name_or_file = {});
    // A template's text. `origin` names it in error messages.
    static ChatTemplate from_source(std::string_view source, SpecialTexts texts, const std::string& origin);

    ChatTemplate(ChatTemplate&&) noexcept;
    ChatTemplate& operator=(ChatTemplate&&) noexcept;
    ~ChatTemplate();

    // The conversation as text, in spans that alternate in provenance; `add_generation_prompt` opens the assistant's
    // turn. Message text that is no UTF-8 gets U+FFFD. Throws ChatTemplateError where the template does
    // (raise_exception) or exceeds a limit of steps, depth or size. Safe to call from several threads.
    std::vector<TemplateSpan> render(std::span<const ChatMessage> messages, bool add_generation_prompt = true) const;

    // Where the template came from: "tokenizer.chat_template of FILE", "built-in template chatml", or a path.
    const std::string& origin() const noexcept;
    const std::string& source() const noexcept;

    // The names that from_gguf knows without any file.
    static std::span<const std::string_view> builtin_names() noexcept;

   private:
    struct Impl;
    explicit ChatTemplate(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// The tokens of a rendered conversation. Special tokens are recognised only where all of their text is the template's;
// between them, text of both kinds is tokenized as one. BOS is put in front where the model asks for it and the
// template did not print it; EOS never. Throws TokenizerError as Tokenizer::encode does.
std::vector<Token> encode_chat(const Tokenizer& tokenizer, std::span<const TemplateSpan> spans);

}  // namespace vigil
