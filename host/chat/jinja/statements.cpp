// How statements are executed.
#include <fmt/format.h>

#include "host/chat/jinja/builtins.h"
#include "host/chat/jinja/error.h"
#include "host/chat/jinja/interpreter.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/printing.h"

namespace vigil::jinja {

void Scope::set(std::string_view name, Value value) {
    for (auto& [known, old] : variables) {
        if (known == name) {
            old = std::move(value);
            return;
        }
    }
    variables.emplace_back(name, std::move(value));
}

const Value* Scope::find(std::string_view name) const noexcept {
    for (const auto& [known, value] : variables) {
        if (known == name) return &value;
    }
    return nullptr;
}

Interpreter::~Interpreter() {
    for (const auto& ns : namespaces_) ns->attributes = Dict();
    for (const auto& loop : loops_) loop->changed.clear();
    for (const auto& scope : captured_) scope->variables.clear();
}

Text Interpreter::run(const ast::Body& body, const Dict& variables) {
    scope_ = std::make_shared<Scope>();
    for (const auto& [key, value] : variables.entries()) scope_->set(key.text()->bytes(), value);
    Text out;
    try {
        execute(body, out);
    } catch (const Error& error) {
        if (error.line() > 0) throw;
        throw Error(error.what(), line_);
    }
    return out;
}

std::shared_ptr<Namespace> Interpreter::make_namespace() {
    constexpr std::uint64_t size = 256;
    budget_.allocate(size);
    return namespaces_.emplace_back(std::make_shared<Namespace>());
}

Interpreter::Flow Interpreter::execute(const ast::Body& body, Text& out) {
    for (const ast::Statement& statement : body) {
        const Flow flow = execute(statement, out);
        if (flow != Flow::next) return flow;
    }
    return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::Statement& statement, Text& out) {
    budget_.step();
    const Level level(budget_);
    line_ = statement.line;
    return std::visit([&](const auto& node) { return execute(node, out); }, statement.node);
}

Interpreter::Flow Interpreter::execute(const ast::Data& node, Text& out) {
    budget_.allocate(node.text.size());
    budget_.check_output(out.size() + node.text.size());
    out.append(node.text, false);
    return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::Output& node, Text& out) {
    for (const ast::ExpressionPtr& value : node.values) print(budget_, out, evaluate(*value));
    return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::If& node, Text& out) {
    for (const ast::If::Branch& branch : node.branches) {
        if (truthy(evaluate(*branch.condition))) return execute(*branch.body, out);
    }
    return node.otherwise ? execute(*node.otherwise, out) : Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::For& node, Text& out) {
    return loop_over(node, evaluate(*node.iterable), 0, out);
}

std::vector<Value> Interpreter::loop_items(const ast::For& node, const Value& iterable) {
    std::vector<Value> items = elements(budget_, iterable);
    if (!node.condition) return items;
    std::vector<Value> kept;
    for (Value& item : items) {
        const Inner inner(*this);
        assign(node.target, item);
        if (truthy(evaluate(*node.condition))) kept.push_back(std::move(item));
    }
    return kept;
}

Interpreter::Flow Interpreter::loop_over(const ast::For& node, const Value& iterable, std::int64_t depth0, Text& out) {
    const auto loop = std::make_shared<Loop>(loop_items(node, iterable));
    loop->depth0 = depth0;
    if (node.recursive) {
        loop->recurse = [&node, depth0](Interpreter& self, const Value& inner_items) {
            const Level level(self.budget_);
            Text text;
            self.loop_over(node, inner_items, depth0 + 1, text);
            return charged(self.budget_, std::move(text));
        };
    }
    // As in Jinja, "else" is for loops of which no pass came to its end: none was made, or each was left or cut short.
    bool is_done = false;
    for (; loop->index0 < loop->items.size(); ++loop->index0) {
        const Inner inner(*this);
        scope_->set("loop", loop);
        assign(node.target, loop->items[loop->index0]);
        const Flow flow = execute(*node.body, out);
        is_done = is_done || flow == Flow::next;
        if (flow == Flow::break_loop) break;
    }
    if (is_done || !node.otherwise) return Flow::next;
    const Inner inner(*this);
    return execute(*node.otherwise, out);
}

void Interpreter::assign(const ast::Target& target, const Value& value) {
    budget_.step();
    if (const auto* name = std::get_if<std::string>(&target.node)) {
        budget_.allocate(name->size() + 2 * sizeof(Value));
        budget_.step(scope_->variables.size() / 32);
        scope_->set(*name, value);
        return;
    }
    if (const auto* reference = std::get_if<ast::Target::Attribute>(&target.node)) {
        const Value object = evaluate(ast::Name{reference->object});
        Namespace* ns = object.name_space();
        if (!ns) throw Error(fmt::format("'{}' is no namespace, so its attributes cannot be set", reference->object));
        if (reference->name.starts_with('_')) {
            throw Error(fmt::format("a namespace cannot hold '{}': the name begins with '_'", reference->name));
        }
        const Value key = make_text(reference->name);
        charge_entry(budget_, key);
        ns->attributes.set(key, value);
        return;
    }
    const auto& parts = std::get<std::vector<ast::Target>>(target.node);
    const std::vector<Value> values = elements(budget_, value);
    if (values.size() != parts.size()) {
        throw Error(fmt::format("{} names cannot be set from {} values", parts.size(), values.size()));
    }
    for (std::size_t i = 0; i < parts.size(); ++i) assign(parts[i], values[i]);
}

Interpreter::Flow Interpreter::execute(const ast::Set& node, Text&) {
    assign(node.target, evaluate(*node.value));
    return Flow::next;
}

Value Interpreter::capture(const ast::Body& body) {
    const Inner inner(*this);
    Text text;
    execute(body, text);
    return charged(budget_, std::move(text));
}

Value Interpreter::apply_filters(const ast::Expression* filter, Value text) {
    if (!filter) return text;
    std::swap(filtered_text_, text);
    Value result = evaluate(*filter);
    std::swap(filtered_text_, text);
    return result;
}

Interpreter::Flow Interpreter::execute(const ast::SetBlock& node, Text&) {
    assign(node.target, apply_filters(node.filter.get(), capture(*node.body)));
    return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::With& node, Text& out) {
    // The values are computed outside of the new scope.
    std::vector<Value> values;
    for (const auto& [target, value] : node.assignments) values.push_back(evaluate(*value));
    const Inner inner(*this);
    for (std::size_t i = 0; i < values.size(); ++i) assign(node.assignments[i].first, values[i]);
    return execute(*node.body, out);
}

Interpreter::Flow Interpreter::execute(const ast::FilterBlock& node, Text& out) {
    print(budget_, out, apply_filters(node.filter.get(), capture(*node.body)));
    return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::Macro& node, Text&) {
    assign(ast::Target{.line = line_, .node = node.function.name}, make_function(node.function));
    return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::CallBlock& node, Text& out) {
    const auto& call_node = std::get<ast::Call>(node.call->node);
    const Value callee = evaluate(*call_node.callee);
    Arguments arguments = evaluate(call_node.arguments);
    arguments.named.emplace_back("caller", make_function(node.caller));
    print(budget_, out, call(callee, arguments));
    return Flow::next;
}

Interpreter::Flow Interpreter::execute(const ast::Break&, Text&) {
    return Flow::break_loop;
}
Interpreter::Flow Interpreter::execute(const ast::Continue&, Text&) {
    return Flow::continue_loop;
}

Interpreter::Flow Interpreter::execute(const ast::Generation& node, Text& out) {
    print(budget_, out, capture(*node.body));
    return Flow::next;
}

Value Interpreter::make_function(const ast::Function& function) {
    constexpr std::uint64_t size = 256;
    budget_.allocate(size);
    captured_.push_back(scope_);
    auto callable = std::make_shared<Callable>();
    callable->name = function.name;
    callable->call = [&function, closure = scope_](Interpreter& self, Arguments& arguments) {
        return self.call_function(function, closure, arguments);
    };
    return std::shared_ptr<const Callable>(std::move(callable));
}

Value Interpreter::call_function(const ast::Function& function, const std::shared_ptr<Scope>& closure,
                                 Arguments& arguments) {
    const Level level(budget_);
    const int call_line = line_;
    const Inner inner(*this, closure);
    const std::size_t count = function.parameters.size();
    std::vector<bool> used(arguments.named.size());
    budget_.step(count + count * (count + arguments.named.size()) / 32);
    for (std::size_t i = 0; i < count; ++i) {
        const ast::Parameter& parameter = function.parameters[i];
        std::optional<Value> value;
        if (i < arguments.positional.size()) value = arguments.positional[i];
        for (std::size_t j = 0; j < arguments.named.size() && !value; ++j) {
            if (arguments.named[j].first != parameter.name) continue;
            value = arguments.named[j].second;
            used[j] = true;
        }
        if (!value && parameter.fallback) value = evaluate(*parameter.fallback);
        if (!value) {
            value = Undefined{
                std::make_shared<const std::string>(fmt::format("parameter '{}' was not provided", parameter.name))};
        }
        scope_->set(parameter.name, *std::move(value));
    }

    Dict more_named;
    for (std::size_t j = 0; j < arguments.named.size(); ++j) {
        if (used[j]) continue;
        const auto& [name, value] = arguments.named[j];
        if (name == "caller" && function.uses_caller) {
            scope_->set("caller", value);
        } else if (function.uses_kwargs) {
            const Value key = make_text(name);
            charge_entry(budget_, key);
            more_named.set(key, value);
        } else {
            throw Error(fmt::format("macro '{}' has no parameter '{}'", function.name, name));
        }
    }
    if (function.uses_kwargs) scope_->set("kwargs", std::move(more_named));
    if (function.uses_varargs) {
        std::vector<Value> rest;
        for (std::size_t i = count; i < arguments.positional.size(); ++i) rest.push_back(arguments.positional[i]);
        scope_->set("varargs", make_tuple(std::move(rest)));
    } else if (arguments.positional.size() > count) {
        throw Error(fmt::format("macro '{}' takes at most {} arguments, got {}", function.name, count,
                                arguments.positional.size()));
    }

    Text text;
    execute(*function.body, text);
    line_ = call_line;
    return charged(budget_, std::move(text));
}

}  // namespace vigil::jinja
