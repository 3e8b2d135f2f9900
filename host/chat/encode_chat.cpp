// A rendered conversation as tokens; declared in chat_template.h.
// From a rendered conversation to tokens: only what the template itself says may be a special token.
#include "host/chat/chat_template.h"

namespace vigil {

std::vector<Token> encode_chat(const Tokenizer& tokenizer, std::span<const TemplateSpan> spans) {
    std::vector<TextSpan> text;
    for (const TemplateSpan& span : spans) text.push_back({span.text, span.is_data});
    // Templates print BOS or leave it out; the tokenizer would add it either way, and an EOS with it.
    std::vector<Token> tokens = tokenizer.encode(text, {.add_bos = false, .parse_special = true});
    if (tokenizer.adds_bos() && (tokens.empty() || tokens.front() != *tokenizer.bos())) {
        tokens.insert(tokens.begin(), *tokenizer.bos());
    }
    return tokens;
}

}  // namespace vigil
