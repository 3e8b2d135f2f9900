// What has been said, and its file.
//
// The file is JSON: {"messages": [{"role": "system" | "user" | "assistant", "content": TEXT}, …]}, the system message
// first if there is one. Other members are written for whoever reads it and ignored when loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "host/chat/chat_template.h"

namespace vigil::chat {

// A file that can't be written, read or understood. The text names it and what is wrong.
class ConversationError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

class Conversation {
   public:
    std::string system;              // empty: none
    std::vector<ChatMessage> turns;  // user and assistant in turn

    // All of it, the system message first.
    std::vector<ChatMessage> messages() const;

    // `model` and `seed` are noted in the file. Both throw ConversationError.
    void save(const std::filesystem::path& path, const std::string& model, std::uint64_t seed) const;
    static Conversation load(const std::filesystem::path& path);
};

}  // namespace vigil::chat
