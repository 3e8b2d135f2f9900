// What `vigil run` prints: the text as it comes and a closing line, or the same as JSON.
#pragma once

#include <cstdint>

#include "runtime/engine.h"

namespace vigil::program {

class GenerationOutput {
   public:
    explicit GenerationOutput(bool json) : json_(json) {}

    // On standard output, at once. Throws ClosedOutput if nobody reads it any more.
    void token(const TokenResult& token) const;
    // Text: ends the line, then one line on standard error. JSON: one object on standard output.
    void summary(const Engine& engine, const Generation& generation, std::uint64_t seed) const;

   private:
    bool json_;
};

}  // namespace vigil::program
