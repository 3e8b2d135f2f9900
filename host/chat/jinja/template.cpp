#include "host/chat/jinja/template.h"

#include "host/chat/jinja/interpreter.h"
#include "host/chat/jinja/parser.h"

namespace vigil::jinja {

Template::Template(std::string_view source) : body_(std::make_shared<const ast::Body>(parse(source))) {}

Text Template::render(const Dict& variables, const std::tm& now, const Limits& limits) const {
    return Interpreter(limits, now).run(*body_, variables);
}

}  // namespace vigil::jinja
