#include "runtime/chat/conversation.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace vigil::chat {
namespace {

using Json = nlohmann::ordered_json;

ConversationError file_error(const std::filesystem::path& path, const std::string& what) {
    return ConversationError(fmt::format("{}: {}", path.string(), what));
}

const std::string& text_member(const std::filesystem::path& path, const Json& message, std::size_t i,
                               const char* name) {
    const auto found = message.is_object() ? message.find(name) : message.end();
    if (!message.is_object() || found == message.end() || !found->is_string())
        throw file_error(path, fmt::format("messages[{}] has no text '{}'", i, name));
    return found->get_ref<const std::string&>();
}

}  // namespace

std::vector<ChatMessage> Conversation::messages() const {
    std::vector<ChatMessage> all;
    if (!system.empty()) all.push_back({"system", system});
    all.insert(all.end(), turns.begin(), turns.end());
    return all;
}

void Conversation::save(const std::filesystem::path& path, const std::string& model, std::uint64_t seed) const {
    Json list = Json::array();
    for (const ChatMessage& message : messages())
        list.push_back({{"role", message.role}, {"content", message.content}});
    const Json whole = {{"model", model}, {"seed", seed}, {"messages", std::move(list)}};
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    // Typed text need not be UTF-8; JSON is.
    file << whole.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    file.close();
    if (!file) throw file_error(path, fmt::format("can't be written: {}", std::strerror(errno)));
}

Conversation Conversation::load(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw file_error(path, fmt::format("can't be read: {}", std::strerror(errno)));
    Json whole;
    try {
        whole = Json::parse(file);
    } catch (const Json::parse_error& e) {
        throw file_error(path, fmt::format("is no JSON: {}", e.what()));
    }
    if (!whole.is_object() || !whole.contains("messages") || !whole["messages"].is_array())
        throw file_error(path, "has no list 'messages'");
    Conversation conversation;
    const Json& list = whole["messages"];
    for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string& role = text_member(path, list[i], i, "role");
        const std::string& content = text_member(path, list[i], i, "content");
        if (role == "system" && i == 0) {
            conversation.system = content;
            continue;
        }
        const char* expected = conversation.turns.size() % 2 == 0 ? "user" : "assistant";
        if (role != expected)
            throw file_error(path, fmt::format("messages[{}] is of role '{}', expected '{}'", i, role, expected));
        conversation.turns.push_back({role, content});
    }
    if (conversation.turns.size() % 2 != 0)
        throw file_error(path, fmt::format("messages[{}] has no answer after it", list.size() - 1));
    return conversation;
}

}  // namespace vigil::chat
