#include "host/chat/chat_template.h"

namespace vigil {

std::vector<Token> encode_chat(const Tokenizer& tokenizer, std::span<const TemplateSpan> spans) {
    std::vector<Token> tokens;
    for (const TemplateSpan& span : spans) {
        const EncodeOptions options{.add_bos = false, .parse_special = !span.is_data};
        const std::vector<Token> more = tokenizer.encode(span.text, options);
        tokens.insert(tokens.end(), more.begin(), more.end());
    }
    return tokens;
}

}  // namespace vigil
