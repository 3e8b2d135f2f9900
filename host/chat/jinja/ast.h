// A parsed template: statements and expressions, as plain data. Names follow Jinja's own nodes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "host/chat/jinja/value.h"

namespace vigil::jinja::ast {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

// The arguments of a call, a filter or a test.
struct CallArguments {
    struct Named {
        std::string name;
        ExpressionPtr value;
    };
    std::vector<ExpressionPtr> positional;
    std::vector<Named> named;
    ExpressionPtr unpacked, unpacked_named;  // *args and **kwargs; may be null
};

struct Constant {
    Value value;
};
struct Name {
    std::string name;
};
struct Unary {
    enum class Operator : std::uint8_t { negate, plus, logical_not } op;
    ExpressionPtr operand;
};
struct Binary {
    enum class Operator : std::uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power } op;
    ExpressionPtr left, right;
};
// a and b and c: the first that decides.
struct Logic {
    bool is_and;
    std::vector<ExpressionPtr> operands;
};
// a < b <= c: true if each holds.
struct Compare {
    enum class Operator : std::uint8_t { equal, not_equal, less, less_equal, greater, greater_equal, in, not_in };
    struct Link {
        Operator op;
        ExpressionPtr right;
    };
    ExpressionPtr first;
    std::vector<Link> links;
};
struct Concat {
    std::vector<ExpressionPtr> operands;
};
struct Conditional {
    ExpressionPtr condition, then, otherwise;  // `otherwise` may be null
};
struct Sequence {
    bool is_tuple;
    std::vector<ExpressionPtr> items;
};
struct DictLiteral {
    struct Pair {
        ExpressionPtr key, value;
    };
    std::vector<Pair> pairs;
};
struct Attribute {
    ExpressionPtr object;
    std::string name;
};
struct Item {
    ExpressionPtr object, index;
};
struct Slice {
    ExpressionPtr object, start, stop, step;  // all but `object` may be null
};
struct Call {
    ExpressionPtr callee;
    CallArguments arguments;
};
struct Filter {
    ExpressionPtr subject;  // null at the head of a {% filter %} or block set: the block's text
    std::string name;
    CallArguments arguments;
};
struct Test {
    ExpressionPtr subject;
    std::string name;
    CallArguments arguments;
};

struct Expression {
    int line = 0;
    int height = 1;  // of the tree below it
    std::variant<Constant, Name, Unary, Binary, Logic, Compare, Concat, Conditional, Sequence, DictLiteral, Attribute,
                 Item, Slice, Call, Filter, Test>
        node;
};

// What can be assigned to: a name, an attribute of a namespace, or a tuple of such.
struct Target {
    struct Attribute {
        std::string object, name;
    };
    int line = 0;
    std::variant<std::string, Attribute, std::vector<Target>> node;
};

struct Statement;
using Body = std::vector<Statement>;

struct Parameter {
    std::string name;
    ExpressionPtr fallback;  // may be null
};
// What a macro and the body of a call block share.
struct Function {
    std::string name;
    std::vector<Parameter> parameters;
    std::unique_ptr<Body> body;
    bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct Data {
    std::string text;
};
struct Output {
    std::vector<ExpressionPtr> values;
};
struct If {
    struct Branch {
        ExpressionPtr condition;
        std::unique_ptr<Body> body;
    };
    std::vector<Branch> branches;
    std::unique_ptr<Body> otherwise;  // may be null
};
struct For {
    Target target;
    ExpressionPtr iterable, condition;  // `condition` may be null
    bool recursive = false;
    std::unique_ptr<Body> body, otherwise;  // `otherwise` may be null
};
struct Set {
    Target target;
    ExpressionPtr value;
};
struct SetBlock {
    Target target;
    ExpressionPtr filter;  // may be null
    std::unique_ptr<Body> body;
};
struct With {
    std::vector<std::pair<Target, ExpressionPtr>> assignments;
    std::unique_ptr<Body> body;
};
struct FilterBlock {
    ExpressionPtr filter;
    std::unique_ptr<Body> body;
};
struct Macro {
    Function function;
};
struct CallBlock {
    Function caller;
    ExpressionPtr call;
};
struct Break {};
struct Continue {};
// {% generation %}: marks the assistant's text for training; here only a scope.
struct Generation {
    std::unique_ptr<Body> body;
};

struct Statement {
    int line = 0;
    std::variant<Data, Output, If, For, Set, SetBlock, With, FilterBlock, Macro, CallBlock, Break, Continue, Generation>
        node;
};

}  // namespace vigil::jinja::ast
