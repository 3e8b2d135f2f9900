// Finds the texts that end a generation in a stream of pieces, wherever the pieces are cut.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vigil {

class StopMatcher {
   public:
    // `stops`: none of them empty.
    explicit StopMatcher(std::vector<std::string> stops);

    struct Step {
        std::string text;    // what can no longer belong to a stop text
        bool found = false;  // a stop text is complete; `text` is all that stood before it
    };
    // Of several stop texts the one that is complete first counts, so that the cuts between pieces don't matter.
    Step push(std::string_view piece);
    // What is held back because it may be the beginning of a stop text.
    bool holds() const noexcept { return !held_.empty(); }
    // Hands that out: nothing follows any more.
    std::string finish();

   private:
    std::vector<std::string> stops_;
    std::string held_;
};

}  // namespace vigil
