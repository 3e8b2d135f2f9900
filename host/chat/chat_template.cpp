#include "host/chat/chat_template.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <fmt/format.h>
#include <fstream>
#include <iterator>

#include "host/chat/builtin_templates.h"
#include "host/chat/jinja/error.h"
#include "host/chat/jinja/lexer.h"
#include "host/chat/jinja/template.h"
#include "host/tokenizer/utf8.h"

namespace vigil {
namespace {

constexpr std::string_view key = "tokenizer.chat_template";

std::string way_out() {
    std::string names;
    for (const BuiltinTemplate& builtin : builtin_templates()) {
        if (!names.empty()) names += ", ";
        names += builtin.name;
    }
    return fmt::format("--chat-template NAME|FILE chooses another (built in: {})", names);
}

[[noreturn]] void fail(const std::string& origin, const jinja::Error& error) {
    const std::string place = error.line() > 0 ? fmt::format(", line {}", error.line()) : std::string();
    throw ChatTemplateError(fmt::format("{}{}: {}; {}", origin, place, error.what(), way_out()));
}

// The text of the file's special token, as templates print it. A file whose ids are out of order has none: its
// tokenizer will say so.
std::string special_text(const gguf::File& file, std::string_view id_key) {
    const gguf::KeyValue* id = file.find(id_key);
    const gguf::Array* tokens = file.find_array("tokenizer.ggml.tokens");
    if (!id || !tokens) return {};
    const std::uint32_t index = file.require_u32(id_key);
    if (index >= tokens->size() || tokens->element_type() != gguf::ValueType::string) return {};
    return std::string(tokens->string(index));
}

std::string read_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) {
        throw ChatTemplateError(
            fmt::format("the chat template '{}' is no built-in one and no readable file; {}", path, way_out()));
    }
    // One byte more than a template may have, so that a longer file is seen to be one.
    std::string text(jinja::longest_template + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (stream.bad()) throw ChatTemplateError(fmt::format("the chat template '{}' cannot be read", path));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    return text;
}

// The words for who speaks are the format's own, not the user's: some templates build special tokens from them.
bool is_known_role(std::string_view role) {
    constexpr std::array known = {"system", "user", "assistant", "tool", "developer", "function", "model", "ipython"};
    return std::ranges::find(known, role) != known.end();
}

jinja::Value data_text(const std::string& text) {
    if (utf8::is_valid(text)) return jinja::make_text(text, true);
    return jinja::make_text(utf8::replace_invalid_bytes(text), true);
}

std::tm local_time() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    localtime_r(&now, &parts);
    return parts;
}

}  // namespace

struct ChatTemplate::Impl {
    std::string origin, source;
    SpecialTexts texts;
    jinja::Template parsed;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::from_source(std::string_view source, SpecialTexts texts, const std::string& origin) {
    try {
        return ChatTemplate(
            std::make_unique<Impl>(Impl{origin, std::string(source), std::move(texts), jinja::Template(source)}));
    } catch (const jinja::Error& error) {
        fail(origin, error);
    }
}

ChatTemplate ChatTemplate::from_gguf(const gguf::File& file, const std::optional<std::string>& name_or_file) {
    SpecialTexts texts{special_text(file, "tokenizer.ggml.bos_token_id"),
                       special_text(file, "tokenizer.ggml.eos_token_id")};
    std::string own_key(key);
    if (name_or_file) {
        for (const BuiltinTemplate& builtin : builtin_templates()) {
            if (builtin.name != *name_or_file) continue;
            return from_source(builtin.source, std::move(texts),
                               fmt::format("built-in chat template {}", builtin.name));
        }
        own_key += "." + *name_or_file;
        if (!file.find(own_key)) {
            return from_source(read_file(*name_or_file), std::move(texts),
                               fmt::format("chat template {}", *name_or_file));
        }
    }
    if (!file.find(own_key)) {
        throw ChatTemplateError(fmt::format("{}: the file has no {}; {}", file.path().string(), key, way_out()));
    }
    return from_source(file.require_string(own_key), std::move(texts),
                       fmt::format("{}: {}", file.path().string(), own_key));
}

std::vector<TemplateSpan> ChatTemplate::render(std::span<const ChatMessage> messages,
                                               bool add_generation_prompt) const {
    std::vector<jinja::Value> list;
    for (const ChatMessage& message : messages) {
        jinja::Dict dict;
        dict.put("role", is_known_role(message.role) ? jinja::make_text(message.role) : data_text(message.role));
        dict.put("content", data_text(message.content));
        list.emplace_back(std::move(dict));
    }
    jinja::Dict variables;
    variables.put("messages", jinja::List(std::move(list)));
    variables.put("add_generation_prompt", add_generation_prompt);
    variables.put("bos_token", jinja::make_text(impl_->texts.bos));
    variables.put("eos_token", jinja::make_text(impl_->texts.eos));
    variables.put("tools", jinja::None{});
    variables.put("documents", jinja::None{});

    jinja::Text text;
    try {
        text = impl_->parsed.render(variables, local_time());
    } catch (const jinja::Error& error) {
        fail(impl_->origin, error);
    }
    std::vector<TemplateSpan> spans;
    std::size_t begin = 0;
    for (const jinja::Text::Run& run : text.runs()) {
        spans.push_back({text.bytes().substr(begin, run.end - begin), run.is_data});
        begin = run.end;
    }
    return spans;
}

const std::string& ChatTemplate::origin() const noexcept {
    return impl_->origin;
}
const std::string& ChatTemplate::source() const noexcept {
    return impl_->source;
}

std::span<const std::string_view> ChatTemplate::builtin_names() noexcept {
    static const std::vector<std::string_view> names = [] {
        std::vector<std::string_view> result;
        for (const BuiltinTemplate& builtin : builtin_templates()) result.push_back(builtin.name);
        return result;
    }();
    return names;
}

}  // namespace vigil
