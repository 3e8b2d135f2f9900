// From a template's text to its tree. Grammar: Jinja's, with the loopcontrols extension and transformers' {% generation
// %}.
#pragma once

#include <string_view>

#include "host/chat/jinja/ast.h"

namespace vigil::jinja {

inline constexpr int deepest_nesting = 150;  // of brackets, operators in a row and blocks in a template's text

// Throws Error with the line and the construct: wrong syntax, or what vigil does not support (import, include, …).
ast::Body parse(std::string_view source);

}  // namespace vigil::jinja
