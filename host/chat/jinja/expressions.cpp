// How expressions are evaluated.
#include <fmt/format.h>

#include "host/chat/jinja/builtins.h"
#include "host/chat/jinja/error.h"
#include "host/chat/jinja/interpreter.h"
#include "host/chat/jinja/operations.h"
#include "host/chat/jinja/printing.h"

namespace vigil::jinja {
namespace {

Value undefined(std::string why) {
    return Undefined{std::make_shared<const std::string>(std::move(why))};
}

}  // namespace

Value Interpreter::evaluate(const ast::Expression& expression) {
    budget_.step();
    const Level level(budget_);
    line_ = expression.line;
    return std::visit(
        [&](const auto& node) {
            Value value = evaluate(node);
            // Back from the parts, whose lines may differ.
            line_ = expression.line;
            return value;
        },
        expression.node);
}

Value Interpreter::evaluate(const ast::Constant& node) {
    return node.value;
}

Value Interpreter::evaluate(const ast::Name& node) {
    for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
        if (const Value* value = scope->find(node.name)) return *value;
        budget_.step(1 + scope->variables.size() / 32);
    }
    if (auto value = find_global(node.name)) return *std::move(value);
    budget_.allocate(node.name.size() + 64);
    return undefined(fmt::format("'{}' is undefined", node.name));
}

Value Interpreter::evaluate(const ast::Unary& node) {
    Value value = evaluate(*node.operand);
    if (node.op == ast::Unary::Operator::logical_not) return !truthy(value);
    if (node.op == ast::Unary::Operator::negate) return negate(value);
    if (const auto i = as_integer(value)) return *i;
    if (value.floating()) return value;
    if (value.is_undefined()) fail_undefined(value);
    throw Error(fmt::format("operator '+' does not work on '{}'", type_name(value)));
}

Value Interpreter::evaluate(const ast::Binary& node) {
    const Value left = evaluate(*node.left);
    const Value right = evaluate(*node.right);
    return arithmetic(budget_, node.op, left, right);
}

Value Interpreter::evaluate(const ast::Logic& node) {
    Value value;
    for (const ast::ExpressionPtr& operand : node.operands) {
        value = evaluate(*operand);
        if (truthy(value) != node.is_and) return value;
    }
    return value;
}

Value Interpreter::evaluate(const ast::Compare& node) {
    Value left = evaluate(*node.first);
    for (const ast::Compare::Link& link : node.links) {
        Value right = evaluate(*link.right);
        if (!compare(budget_, link.op, left, right)) return false;
        left = std::move(right);
    }
    return true;
}

Value Interpreter::evaluate(const ast::Concat& node) {
    Text text;
    for (const ast::ExpressionPtr& operand : node.operands) print(budget_, text, evaluate(*operand));
    return charged(budget_, std::move(text));
}

Value Interpreter::evaluate(const ast::Conditional& node) {
    if (truthy(evaluate(*node.condition))) return evaluate(*node.then);
    if (node.otherwise) return evaluate(*node.otherwise);
    return undefined("the inline if-expression evaluated to false and no else section was defined");
}

Value Interpreter::evaluate(const ast::Sequence& node) {
    charge_list(budget_, node.items.size());
    std::vector<Value> items;
    items.reserve(node.items.size());
    for (const ast::ExpressionPtr& item : node.items) items.push_back(evaluate(*item));
    return List(std::move(items), node.is_tuple ? List::Shape::tuple : List::Shape::list);
}

Value Interpreter::evaluate(const ast::DictLiteral& node) {
    Dict dict;
    for (const ast::DictLiteral::Pair& pair : node.pairs) {
        const Value key = evaluate(*pair.key);
        charge_entry(budget_, key);
        dict.set(key, evaluate(*pair.value));
    }
    return dict;
}

Value Interpreter::evaluate(const ast::Attribute& node) {
    return attribute(evaluate(*node.object), node.name);
}

Value Interpreter::evaluate(const ast::Item& node) {
    const Value object = evaluate(*node.object);
    return item(object, evaluate(*node.index));
}

Value Interpreter::evaluate(const ast::Slice& node) {
    const Value object = evaluate(*node.object);
    const auto bound = [&](const ast::ExpressionPtr& expression) {
        return expression ? evaluate(*expression) : Value(None{});
    };
    const Value start = bound(node.start), stop = bound(node.stop), step = bound(node.step);
    return slice(budget_, object, start, stop, step);
}

Value Interpreter::evaluate(const ast::Call& node) {
    const Value callee = evaluate(*node.callee);
    Arguments arguments = evaluate(node.arguments);
    return call(callee, arguments);
}

Value Interpreter::evaluate(const ast::Filter& node) {
    const Value subject = node.subject ? evaluate(*node.subject) : filtered_text_;
    Arguments arguments = evaluate(node.arguments);
    return apply_filter(node.name, subject, arguments);
}

Value Interpreter::evaluate(const ast::Test& node) {
    const Value subject = evaluate(*node.subject);
    Arguments arguments = evaluate(node.arguments);
    return apply_test(node.name, subject, arguments);
}

Arguments Interpreter::evaluate(const ast::CallArguments& arguments) {
    Arguments result;
    for (const ast::ExpressionPtr& argument : arguments.positional) result.positional.push_back(evaluate(*argument));
    for (const auto& [name, value] : arguments.named) result.named.emplace_back(name, evaluate(*value));
    if (arguments.unpacked) {
        for (Value& value : elements(budget_, evaluate(*arguments.unpacked))) {
            result.positional.push_back(std::move(value));
        }
    }
    if (arguments.unpacked_named) {
        const Value mapping = evaluate(*arguments.unpacked_named);
        if (!mapping.dict()) throw Error(fmt::format("'**' needs a dict, got '{}'", type_name(mapping)));
        charge_list(budget_, mapping.dict()->size() * 4);
        for (const auto& [key, value] : mapping.dict()->entries()) {
            if (!key.text()) throw Error("'**' needs a dict whose keys are strings");
            result.named.emplace_back(key.text()->bytes(), value);
        }
    }
    return result;
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
    const Level level(budget_);
    if (const Callable* function = callee.callable()) return function->call(*this, arguments);
    if (const Loop* loop = callee.loop()) {
        if (!loop->recurse) throw Error("'loop' can be called only in a for loop marked 'recursive'");
        return loop->recurse(*this, Bound("loop", arguments, {"iterable"}, 1)[0]);
    }
    if (callee.is_undefined()) fail_undefined(callee);
    throw Error(fmt::format("a value of type '{}' cannot be called", type_name(callee)));
}

Value Interpreter::apply_filter(const std::string& name, const Value& subject, Arguments& arguments) {
    const FilterFunction filter = find_filter(name);
    if (!filter) throw Error(fmt::format("the filter '{}' is not supported", name));
    const Level level(budget_);
    return filter(*this, subject, arguments);
}

bool Interpreter::apply_test(const std::string& name, const Value& subject, Arguments& arguments) {
    const TestFunction test = find_test(name);
    if (!test) throw Error(fmt::format("the test '{}' is not supported", name));
    budget_.step();
    return test(*this, subject, arguments);
}

Value Interpreter::item(const Value& object, const Value& key) {
    budget_.step();
    if (object.is_undefined()) fail_undefined(object);
    const Text* name = key.text();
    if (name) budget_.touch(name->size());
    if (const Dict* dict = object.dict()) {
        const List* list = key.list();
        const bool hashable = !key.dict() && !(list && list->shape != List::Shape::tuple);
        if (const Value* value = hashable ? dict->find(key) : nullptr) return *value;
    } else if (const auto index = as_integer(key)) {
        if (auto element = element_at(budget_, object, *index)) return *std::move(element);
    }
    if (name) {
        if (auto value = find_attribute(*this, object, name->bytes())) return *std::move(value);
    }
    constexpr std::size_t longest_shown = 80;
    Text shown;
    print_repr(budget_, shown, key);
    if (shown.size() > longest_shown) shown = Text("…");
    return undefined(fmt::format("'{}' object has no element {}", type_name(object), shown.bytes()));
}

Value Interpreter::attribute(const Value& object, std::string_view name) {
    budget_.step();
    if (object.is_undefined()) fail_undefined(object);
    if (auto value = find_attribute(*this, object, name)) return *std::move(value);
    if (const Dict* dict = object.dict()) {
        if (const Value* value = dict->find(name)) return *value;
    }
    budget_.allocate(name.size() + 64);
    return undefined(fmt::format("'{}' object has no attribute '{}'", type_name(object), name));
}

}  // namespace vigil::jinja
