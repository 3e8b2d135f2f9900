// The renderer's door: a parsed template, to be rendered with variables as often as wanted.
#pragma once

#include <ctime>
#include <memory>
#include <string_view>

#include "host/chat/jinja/ast.h"
#include "host/chat/jinja/budget.h"
#include "host/chat/jinja/text.h"
#include "host/chat/jinja/value.h"

namespace vigil::jinja {

class Template {
   public:
    // Throws Error with the line.
    explicit Template(std::string_view source);

    // Throws Error with the line where the template fails or exceeds `limits`. `now`: local time, for strftime_now.
    // Safe to call from several threads.
    Text render(const Dict& variables, const std::tm& now, const Limits& limits = {}) const;

   private:
    std::shared_ptr<const ast::Body> body_;
};

}  // namespace vigil::jinja
