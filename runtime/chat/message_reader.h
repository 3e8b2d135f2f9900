// Messages out of lines. A line is a message, but
//   - a line that ends with a backslash goes on with the next;
//   - """ at the beginning of a line begins a block that ends with """ at the end of a line;
//   - a line that begins with / is a command, and with // a message that begins with /.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace vigil::chat {

struct Input {
    std::string text;  // of a command without its /
    bool is_command = false;
};

class MessageReader {
   public:
    // What the line completes. Blank lines between messages complete nothing.
    std::optional<Input> push(const std::string& line);
    // What is left when the input has ended.
    std::optional<Input> finish();
    // The next line belongs to a message already begun.
    bool pending() const noexcept { return pending_; }
    // Drops the message begun.
    void clear();

   private:
    std::optional<Input> complete();

    bool pending_ = false;
    bool in_block_ = false;
    std::string text_;
};

}  // namespace vigil::chat
