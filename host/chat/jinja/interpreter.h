// Runs a parsed template: one rendering, with its variables, its output and its budget.
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "host/chat/jinja/arguments.h"
#include "host/chat/jinja/ast.h"
#include "host/chat/jinja/budget.h"
#include "host/chat/jinja/value.h"

namespace vigil::jinja {

// The variables of one scope; inner scopes hide outer ones.
struct Scope {
    std::shared_ptr<Scope> parent;
    std::vector<std::pair<std::string, Value>> variables;

    void set(std::string_view name, Value value);
    const Value* find(std::string_view name) const noexcept;  // here only
};

class Interpreter {
   public:
    // `now` is what strftime_now shows.
    Interpreter(const Limits& limits, const std::tm& now) : budget_(limits), now_(now) {}
    ~Interpreter();
    Interpreter(const Interpreter&) = delete;
    Interpreter& operator=(const Interpreter&) = delete;

    // The template's text with `variables`. Throws Error with the line.
    Text run(const ast::Body& body, const Dict& variables);

    // For filters, tests, methods and functions.
    Budget& budget() noexcept { return budget_; }
    const std::tm& now() const noexcept { return now_; }
    Value call(const Value& callee, Arguments& arguments);
    Value apply_filter(const std::string& name, const Value& subject, Arguments& arguments);
    bool apply_test(const std::string& name, const Value& subject, Arguments& arguments);
    Value item(const Value& object, const Value& key);
    Value attribute(const Value& object, std::string_view name);
    std::shared_ptr<Namespace> make_namespace();
    // Keeps `loop` until the end, when its values are dropped: it may hold itself.
    void adopt(std::shared_ptr<Loop> loop) { loops_.push_back(std::move(loop)); }

   private:
    enum class Flow : std::uint8_t { next, break_loop, continue_loop };
    // Opens a scope within the current one (or another) for as long as it lives.
    class Inner {
       public:
        explicit Inner(Interpreter& interpreter) : Inner(interpreter, interpreter.scope_) {}
        Inner(Interpreter& interpreter, std::shared_ptr<Scope> parent)
            : interpreter_(interpreter), outer_(std::move(interpreter.scope_)) {
            interpreter_.scope_ = std::make_shared<Scope>(Scope{std::move(parent), {}});
        }
        ~Inner() { interpreter_.scope_ = std::move(outer_); }
        Inner(const Inner&) = delete;
        Inner& operator=(const Inner&) = delete;

       private:
        Interpreter& interpreter_;
        std::shared_ptr<Scope> outer_;
    };

    // Statements (statements.cpp)
    Flow execute(const ast::Body& body, Text& out);
    Flow execute(const ast::Statement& statement, Text& out);
    Flow execute(const ast::Data& node, Text& out);
    Flow execute(const ast::Output& node, Text& out);
    Flow execute(const ast::If& node, Text& out);
    Flow execute(const ast::For& node, Text& out);
    Flow execute(const ast::Set& node, Text& out);
    Flow execute(const ast::SetBlock& node, Text& out);
    Flow execute(const ast::With& node, Text& out);
    Flow execute(const ast::FilterBlock& node, Text& out);
    Flow execute(const ast::Macro& node, Text& out);
    Flow execute(const ast::CallBlock& node, Text& out);
    Flow execute(const ast::Break& node, Text& out);
    Flow execute(const ast::Continue& node, Text& out);
    Flow execute(const ast::Generation& node, Text& out);
    // The flow is that of the loop's else, which stands outside of the loop.
    Flow loop_over(const ast::For& node, const Value& iterable, std::int64_t depth0, Text& out);
    std::vector<Value> loop_items(const ast::For& node, const Value& iterable);
    void assign(const ast::Target& target, const Value& value);
    Value capture(const ast::Body& body);
    Value apply_filters(const ast::Expression* filter, Value text);
    Value make_function(const ast::Function& function);
    Value call_function(const ast::Function& function, const std::shared_ptr<Scope>& closure, Arguments& arguments);

    // Expressions (expressions.cpp)
    Value evaluate(const ast::Expression& expression);
    Value evaluate(const ast::Constant& node);
    Value evaluate(const ast::Name& node);
    Value evaluate(const ast::Unary& node);
    Value evaluate(const ast::Binary& node);
    Value evaluate(const ast::Logic& node);
    Value evaluate(const ast::Compare& node);
    Value evaluate(const ast::Concat& node);
    Value evaluate(const ast::Conditional& node);
    Value evaluate(const ast::Sequence& node);
    Value evaluate(const ast::DictLiteral& node);
    Value evaluate(const ast::Attribute& node);
    Value evaluate(const ast::Item& node);
    Value evaluate(const ast::Slice& node);
    Value evaluate(const ast::Call& node);
    Value evaluate(const ast::Filter& node);
    Value evaluate(const ast::Test& node);
    Arguments evaluate(const ast::CallArguments& arguments);

    Budget budget_;
    std::tm now_;
    int line_ = 0;
    std::shared_ptr<Scope> scope_;
    Value filtered_text_;  // the subject at the head of a block's filters
    // What may be part of a cycle of references; emptied in the end.
    std::vector<std::shared_ptr<Namespace>> namespaces_;
    std::vector<std::shared_ptr<Loop>> loops_;
    std::vector<std::shared_ptr<Scope>> captured_;
};

}  // namespace vigil::jinja
