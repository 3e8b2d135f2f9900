// SentencePiece's BPE: characters are joined pair by pair, the pair whose result has the highest score first; what
// remains and is no token is written byte by byte.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "host/tokenizer/text_index.h"

namespace vigil {

class Spm {
   public:
    // `pieces` are the tokens that text may become, `scores` is indexed by token; `byte_tokens[b]` is the token of byte
    // b or the unknown token.
    Spm(TextIndex pieces, std::vector<float> scores, const std::array<Token, 256>& byte_tokens);

    // Appends the tokens of `text`, in which blanks are already written U+2581. Bytes that are no UTF-8 become byte
    // tokens. Time O(n log n).
    void encode(std::string_view text, std::vector<Token>& out) const;

   private:
    TextIndex pieces_;
    std::vector<float> scores_;
    std::array<Token, 256> byte_tokens_;
};

}  // namespace vigil
