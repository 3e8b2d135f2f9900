// The half of the parser that reads expressions.
#pragma once

#include <optional>
#include <string_view>

#include "host/chat/jinja/ast.h"
#include "host/chat/jinja/token_stream.h"

namespace vigil::jinja {

class ExpressionParser {
   public:
    explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

    ast::ExpressionPtr expression(bool with_conditional = true);
    // One expression, or several with commas between them: a tuple. `end`: a name that ends it after a comma.
    ast::ExpressionPtr tuple(bool with_conditional = true, bool in_parentheses = false);
    // What can be assigned to, up to a name such as "in". Namespace attributes only where they may be set.
    ast::Target target(bool with_namespace, bool with_tuple = true);
    // "| name(arguments) | …" behind `subject`, which may be null; with `inline_start` the first bar is left out.
    ast::ExpressionPtr filters(ast::ExpressionPtr subject, bool inline_start = false);

    // Whether a name has been read since the flag was cleared; the statement parser asks about varargs and the like.
    struct Uses {
        bool varargs = false, kwargs = false, caller = false;
    };
    Uses uses;

   private:
    ast::ExpressionPtr conditional();
    ast::ExpressionPtr logic(bool is_and);
    ast::ExpressionPtr negation();
    ast::ExpressionPtr comparison();
    ast::ExpressionPtr sum();
    ast::ExpressionPtr concatenation();
    ast::ExpressionPtr product();
    ast::ExpressionPtr power();
    ast::ExpressionPtr unary(bool with_filter = true);
    ast::ExpressionPtr primary();
    ast::ExpressionPtr number();
    ast::ExpressionPtr list();
    ast::ExpressionPtr dict();
    ast::ExpressionPtr postfix(ast::ExpressionPtr object);
    ast::ExpressionPtr filters_and_tests(ast::ExpressionPtr subject);
    ast::ExpressionPtr attribute(ast::ExpressionPtr object);
    ast::ExpressionPtr subscript(ast::ExpressionPtr object);
    ast::ExpressionPtr call(ast::ExpressionPtr callee);
    ast::ExpressionPtr test(ast::ExpressionPtr subject);
    ast::CallArguments arguments();
    ast::Target single_target(bool with_namespace);

    TokenStream& stream_;
};

}  // namespace vigil::jinja
