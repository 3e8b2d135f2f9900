#include "host/chat/chat_template.h"

namespace vigil {

struct ChatTemplate::Impl {
    std::string origin, source;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::from_source(std::string_view source, SpecialTexts, std::string origin) {
    auto impl = std::make_unique<Impl>();
    impl->origin = std::move(origin);
    impl->source = source;
    return ChatTemplate(std::move(impl));
}

ChatTemplate ChatTemplate::from_gguf(const gguf::File& file, const std::optional<std::string>&) {
    return from_source("", {}, "built-in template chatml of " + file.path().string());
}

// The ChatML format, whatever the template says, until the renderer stands.
std::vector<TemplateSpan> ChatTemplate::render(std::span<const ChatMessage> messages,
                                               bool add_generation_prompt) const {
    std::vector<TemplateSpan> spans;
    for (const ChatMessage& message : messages) {
        spans.push_back({"<|im_start|>" + message.role + "\n", false});
        spans.push_back({message.content, true});
        spans.push_back({"<|im_end|>\n", false});
    }
    if (add_generation_prompt) spans.push_back({"<|im_start|>assistant\n", false});
    return spans;
}

const std::string& ChatTemplate::origin() const noexcept {
    return impl_->origin;
}
const std::string& ChatTemplate::source() const noexcept {
    return impl_->source;
}

std::span<const std::string_view> ChatTemplate::builtin_names() noexcept {
    static constexpr std::string_view names[] = {"chatml", "llama2", "llama3", "mistral",
                                                 "zephyr", "gemma",  "phi3",   "deepseek"};
    return names;
}

}  // namespace vigil
