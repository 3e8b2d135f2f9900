#include "runtime/chat/message_reader.h"

#include <string_view>
#include <utility>

namespace vigil::chat {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";

}  // namespace

std::optional<Input> MessageReader::push(const std::string& line) {
    std::string_view rest = line;
    if (!pending_) {
        if (rest.starts_with('/') && !rest.starts_with("//")) return Input{std::string(rest.substr(1)), true};
        if (rest.starts_with("//")) rest.remove_prefix(1);
        in_block_ = rest.starts_with(kQuotes);
        if (in_block_) rest.remove_prefix(kQuotes.size());
        pending_ = true;
        if (in_block_ && rest.empty()) return std::nullopt;  // the block begins with the next line
    }
    if (in_block_) {
        const bool ends = rest.ends_with(kQuotes);
        if (ends) rest.remove_suffix(kQuotes.size());
        text_ += rest;
        if (ends) return complete();
        text_ += '\n';
        return std::nullopt;
    }
    if (rest.ends_with('\\')) {
        rest.remove_suffix(1);
        text_ += rest;
        text_ += '\n';
        return std::nullopt;
    }
    text_ += rest;
    return complete();
}

std::optional<Input> MessageReader::finish() {
    return pending_ ? complete() : std::nullopt;
}

void MessageReader::clear() {
    pending_ = false;
    in_block_ = false;
    text_.clear();
}

std::optional<Input> MessageReader::complete() {
    std::string text = std::exchange(text_, {});
    clear();
    while (text.ends_with('\n')) text.pop_back();
    if (text.find_first_not_of(" \t\n") == std::string::npos) return std::nullopt;
    return Input{std::move(text), false};
}

}  // namespace vigil::chat
