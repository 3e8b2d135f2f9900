// The two names that every part of the tokenizer shares.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace vigil {

using Token = std::int32_t;

class TokenizerError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

}  // namespace vigil
