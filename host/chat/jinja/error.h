// What can go wrong with a template, before anyone knows which line it was.
#pragma once

#include <stdexcept>
#include <string>

namespace vigil::jinja {

// `line` is 1-based; 0 where it is not known yet (the interpreter fills it in).
class Error : public std::runtime_error {
   public:
    explicit Error(const std::string& what, int line = 0) : std::runtime_error(what), line_(line) {}
    int line() const noexcept { return line_; }

   private:
    int line_;
};

}  // namespace vigil::jinja
