#include "host/chat/jinja/parser.h"

#include <array>
#include <fmt/format.h>
#include <initializer_list>
#include <utility>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/expression_parser.h"
#include "host/chat/jinja/token_stream.h"

namespace vigil::jinja {
namespace {

using namespace ast;
using Kind = Lexeme::Kind;

class Parser {
   public:
    explicit Parser(std::string_view source) : stream_(tokenize(source)), expressions_(stream_) {}

    Body run() {
        Body body = statements({});
        if (stream_.current().kind != Kind::end) stream_.fail("unexpected " + describe(stream_.current()));
        return body;
    }

   private:
    // Statements up to a tag that begins with one of `ends`, which stays the current lexeme.
    Body statements(std::initializer_list<std::string_view> ends) {
        const Nesting nesting(stream_);
        Body body;
        while (stream_.current().kind != Kind::end) {
            const int line = stream_.current().line;
            if (stream_.current().kind == Kind::data) {
                body.push_back({line, Data{stream_.take().text}});
            } else if (stream_.current().kind == Kind::variable_begin) {
                stream_.take();
                Output output;
                output.values.push_back(expressions_.tuple());
                stream_.expect(Kind::variable_end);
                body.push_back({line, std::move(output)});
            } else {
                stream_.expect(Kind::block_begin);
                for (const std::string_view end : ends) {
                    if (stream_.current().is_name(end)) return body;
                }
                body.push_back(statement());
                stream_.expect(Kind::block_end);
            }
        }
        if (ends.size() > 0) {
            stream_.fail(fmt::format("unexpected end of the template; '{{% {} %}}' is missing", *(ends.end() - 1)));
        }
        return body;
    }

    // The body behind the opening tag, whose end is still to come.
    std::unique_ptr<Body> body_until(std::initializer_list<std::string_view> ends) {
        stream_.skip_symbol(":");
        stream_.expect(Kind::block_end);
        return std::make_unique<Body>(statements(ends));
    }
    // The same, with the one closing tag taken.
    std::unique_ptr<Body> whole_body(std::string_view end) {
        std::unique_ptr<Body> body = body_until({end});
        stream_.take();
        return body;
    }

    Statement statement() {
        const int line = stream_.current().line;
        if (stream_.current().kind != Kind::name) {
            stream_.fail(fmt::format("expected a tag's name, got {}", describe(stream_.current())));
        }
        const std::string tag = stream_.current().text;
        if (tag == "if") return {line, if_statement()};
        if (tag == "for") return {line, for_statement()};
        if (tag == "set") return set_statement(line);
        if (tag == "macro") return {line, macro()};
        if (tag == "with") return {line, with()};
        if (tag == "call") return {line, call_block()};
        stream_.take();
        if (tag == "filter") {
            FilterBlock node{.filter = expressions_.filters(nullptr, true), .body = nullptr};
            node.body = whole_body("endfilter");
            return {line, std::move(node)};
        }
        if (tag == "print") return {line, print()};
        if (tag == "generation") return {line, Generation{whole_body("endgeneration")}};
        if (tag == "break" || tag == "continue") {
            if (loops_ == 0) throw Error(fmt::format("'{{% {} %}}' stands outside of any loop", tag), line);
            if (tag == "break") return {line, Break{}};
            return {line, Continue{}};
        }
        throw Error(fmt::format("the tag '{{% {} %}}' is not supported", tag), line);
    }

    If if_statement() {
        If node;
        bool more = true;
        while (more) {
            stream_.take();  // if, elif
            ExpressionPtr condition = expressions_.tuple(false);
            node.branches.push_back({std::move(condition), body_until({"elif", "else", "endif"})});
            more = stream_.current().is_name("elif");
        }
        if (stream_.skip_name("else")) node.otherwise = body_until({"endif"});
        stream_.take();
        return node;
    }

    For for_statement() {
        stream_.take();
        For node;
        node.target = expressions_.target(false);
        stream_.expect_name("in");
        node.iterable = expressions_.tuple(false);
        if (stream_.skip_name("if")) node.condition = expressions_.expression();
        node.recursive = stream_.skip_name("recursive");
        ++loops_;
        node.body = body_until({"else", "endfor"});
        --loops_;
        if (stream_.skip_name("else")) node.otherwise = body_until({"endfor"});
        stream_.take();
        return node;
    }

    Statement set_statement(int line) {
        stream_.take();
        Target target = expressions_.target(true);
        if (stream_.skip_symbol("=")) return {line, Set{std::move(target), expressions_.tuple()}};
        SetBlock node{.target = std::move(target), .filter = expressions_.filters(nullptr), .body = nullptr};
        node.body = whole_body("endset");
        return {line, std::move(node)};
    }

    With with() {
        stream_.take();
        With node;
        while (stream_.current().kind != Kind::block_end) {
            if (!node.assignments.empty()) stream_.expect_symbol(",");
            Target target = expressions_.target(false, false);
            stream_.expect_symbol("=");
            node.assignments.emplace_back(std::move(target), expressions_.expression());
        }
        node.body = whole_body("endwith");
        return node;
    }

    Output print() {
        Output output;
        while (stream_.current().kind != Kind::block_end) {
            if (!output.values.empty()) stream_.expect_symbol(",");
            output.values.push_back(expressions_.expression());
        }
        return output;
    }

    std::vector<Parameter> parameters() {
        std::vector<Parameter> result;
        stream_.expect_symbol("(");
        while (!stream_.current().is_symbol(")")) {
            if (!result.empty()) stream_.expect_symbol(",");
            Parameter parameter{.name = stream_.expect_any_name(), .fallback = nullptr};
            if (stream_.skip_symbol("=")) {
                parameter.fallback = expressions_.expression();
            } else if (!result.empty() && result.back().fallback) {
                stream_.fail(
                    fmt::format("the parameter '{}' needs a default: the one before it has one", parameter.name));
            }
            result.push_back(std::move(parameter));
        }
        stream_.expect_symbol(")");
        return result;
    }

    // A function's body up to the tag `end`, in which no loop from outside can be left.
    void function_body(Function& function, std::string_view end) {
        const int outer_loops = std::exchange(loops_, 0);
        const ExpressionParser::Uses outer_uses = std::exchange(expressions_.uses, {});
        function.body = whole_body(end);
        function.uses_varargs = expressions_.uses.varargs;
        function.uses_kwargs = expressions_.uses.kwargs;
        function.uses_caller = expressions_.uses.caller;
        expressions_.uses = outer_uses;
        loops_ = outer_loops;
    }

    Macro macro() {
        stream_.take();
        Macro node;
        node.function.name = stream_.expect_any_name();
        node.function.parameters = parameters();
        function_body(node.function, "endmacro");
        return node;
    }

    CallBlock call_block() {
        stream_.take();
        CallBlock node;
        node.caller.name = "caller";
        if (stream_.current().is_symbol("(")) node.caller.parameters = parameters();
        node.call = expressions_.expression();
        if (!std::holds_alternative<Call>(node.call->node)) stream_.fail("expected a call");
        function_body(node.caller, "endcall");
        return node;
    }

    TokenStream stream_;
    ExpressionParser expressions_;
    int loops_ = 0;
};

}  // namespace

Body parse(std::string_view source) {
    return Parser(source).run();
}

}  // namespace vigil::jinja
