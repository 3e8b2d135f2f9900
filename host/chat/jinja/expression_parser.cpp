#include "host/chat/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/parser.h"

namespace vigil::jinja {
namespace {

using namespace ast;
using Kind = Lexeme::Kind;

int height_of(const ExpressionPtr& expression) {
    return expression ? expression->height : 0;
}

int height_of(const CallArguments& arguments) {
    int height = std::max(height_of(arguments.unpacked), height_of(arguments.unpacked_named));
    for (const ExpressionPtr& argument : arguments.positional) height = std::max(height, height_of(argument));
    for (const CallArguments::Named& argument : arguments.named) height = std::max(height, height_of(argument.value));
    return height;
}

int tallest(const std::vector<ExpressionPtr>& expressions) {
    int height = 0;
    for (const ExpressionPtr& expression : expressions) height = std::max(height, height_of(expression));
    return height;
}

// `below`: the height of the tallest part.
template <class Node>
ExpressionPtr make(int line, int below, Node node) {
    if (below >= deepest_nesting) {
        throw Error(fmt::format("an expression nests deeper than {} levels", deepest_nesting), line);
    }
    auto expression = std::make_unique<Expression>();
    expression->line = line;
    expression->height = below + 1;
    expression->node = std::move(node);
    return expression;
}

std::optional<Compare::Operator> comparison_symbol(const Lexeme& lexeme) {
    using enum Compare::Operator;
    if (lexeme.kind != Kind::symbol) return std::nullopt;
    if (lexeme.text == "==") return equal;
    if (lexeme.text == "!=") return not_equal;
    if (lexeme.text == "<") return less;
    if (lexeme.text == "<=") return less_equal;
    if (lexeme.text == ">") return greater;
    if (lexeme.text == ">=") return greater_equal;
    return std::nullopt;
}

}  // namespace

ExpressionPtr ExpressionParser::expression(bool with_conditional) {
    const Nesting nesting(stream_);
    return with_conditional ? conditional() : logic(false);
}

ExpressionPtr ExpressionParser::conditional() {
    int line = stream_.current().line;
    ExpressionPtr then = logic(false);
    while (stream_.skip_name("if")) {
        Conditional node{.condition = logic(false), .then = std::move(then), .otherwise = nullptr};
        if (stream_.skip_name("else")) node.otherwise = expression();
        const int below = std::max({height_of(node.condition), height_of(node.then), height_of(node.otherwise)});
        then = make(line, below, std::move(node));
        line = stream_.current().line;
    }
    return then;
}

ExpressionPtr ExpressionParser::logic(bool is_and) {
    const auto operand = [&] { return is_and ? negation() : logic(true); };
    const int line = stream_.current().line;
    ExpressionPtr first = operand();
    if (!stream_.current().is_name(is_and ? "and" : "or")) return first;
    Logic node{.is_and = is_and, .operands = {}};
    node.operands.push_back(std::move(first));
    while (stream_.skip_name(is_and ? "and" : "or")) node.operands.push_back(operand());
    const int below = tallest(node.operands);
    return make(line, below, std::move(node));
}

ExpressionPtr ExpressionParser::negation() {
    if (!stream_.current().is_name("not")) return comparison();
    const Nesting nesting(stream_);
    const int line = stream_.take().line;
    ExpressionPtr operand = negation();
    const int below = operand->height;
    return make(line, below, Unary{Unary::Operator::logical_not, std::move(operand)});
}

ExpressionPtr ExpressionParser::comparison() {
    const int line = stream_.current().line;
    Compare node{.first = sum(), .links = {}};
    int below = node.first->height;
    while (true) {
        Compare::Operator op;
        if (const auto symbol = comparison_symbol(stream_.current())) {
            op = *symbol;
            stream_.take();
        } else if (stream_.skip_name("in")) {
            op = Compare::Operator::in;
        } else if (stream_.current().is_name("not") && stream_.ahead().is_name("in")) {
            op = Compare::Operator::not_in;
            stream_.take();
            stream_.take();
        } else {
            break;
        }
        node.links.push_back({op, sum()});
        below = std::max(below, node.links.back().right->height);
    }
    if (node.links.empty()) return std::move(node.first);
    return make(line, below, std::move(node));
}

ExpressionPtr ExpressionParser::sum() {
    ExpressionPtr left = concatenation();
    while (stream_.current().is_symbol("+") || stream_.current().is_symbol("-")) {
        const Lexeme& symbol = stream_.take();
        const auto op = symbol.text == "+" ? Binary::Operator::add : Binary::Operator::subtract;
        ExpressionPtr right = concatenation();
        const int below = std::max(left->height, right->height);
        left = make(symbol.line, below, Binary{op, std::move(left), std::move(right)});
    }
    return left;
}

ExpressionPtr ExpressionParser::concatenation() {
    const int line = stream_.current().line;
    ExpressionPtr first = product();
    if (!stream_.current().is_symbol("~")) return first;
    Concat node;
    node.operands.push_back(std::move(first));
    while (stream_.skip_symbol("~")) node.operands.push_back(product());
    const int below = tallest(node.operands);
    return make(line, below, std::move(node));
}

ExpressionPtr ExpressionParser::product() {
    const auto operator_here = [&]() -> std::optional<Binary::Operator> {
        const Lexeme& lexeme = stream_.current();
        if (lexeme.is_symbol("*")) return Binary::Operator::multiply;
        if (lexeme.is_symbol("/")) return Binary::Operator::divide;
        if (lexeme.is_symbol("//")) return Binary::Operator::floor_divide;
        if (lexeme.is_symbol("%")) return Binary::Operator::modulo;
        return std::nullopt;
    };
    ExpressionPtr left = power();
    while (const auto op = operator_here()) {
        const int line = stream_.take().line;
        ExpressionPtr right = power();
        const int below = std::max(left->height, right->height);
        left = make(line, below, Binary{*op, std::move(left), std::move(right)});
    }
    return left;
}

ExpressionPtr ExpressionParser::power() {
    ExpressionPtr left = unary();
    while (stream_.current().is_symbol("**")) {
        const int line = stream_.take().line;
        ExpressionPtr right = unary();
        const int below = std::max(left->height, right->height);
        left = make(line, below, Binary{Binary::Operator::power, std::move(left), std::move(right)});
    }
    return left;
}

ExpressionPtr ExpressionParser::unary(bool with_filter) {
    ExpressionPtr node;
    if (stream_.current().is_symbol("-") || stream_.current().is_symbol("+")) {
        const Nesting nesting(stream_);
        const Lexeme& symbol = stream_.take();
        const auto op = symbol.text == "-" ? Unary::Operator::negate : Unary::Operator::plus;
        ExpressionPtr operand = unary(false);
        const int below = operand->height;
        node = make(symbol.line, below, Unary{op, std::move(operand)});
    } else {
        node = primary();
    }
    node = postfix(std::move(node));
    return with_filter ? filters_and_tests(std::move(node)) : std::move(node);
}

ExpressionPtr ExpressionParser::primary() {
    const Lexeme& lexeme = stream_.current();
    const int line = lexeme.line;
    switch (lexeme.kind) {
        case Kind::name: {
            const std::string name = stream_.take().text;
            if (name == "true" || name == "True") return make(line, 0, Constant{true});
            if (name == "false" || name == "False") return make(line, 0, Constant{false});
            if (name == "none" || name == "None") return make(line, 0, Constant{None{}});
            if (name == "varargs") uses.varargs = true;
            if (name == "kwargs") uses.kwargs = true;
            if (name == "caller") uses.caller = true;
            return make(line, 0, Name{name});
        }
        case Kind::string: {
            std::string text;
            while (stream_.current().kind == Kind::string) text += stream_.take().text;
            return make(line, 0, Constant{make_text(text)});
        }
        case Kind::integer:
        case Kind::floating:
            return number();
        case Kind::symbol:
            if (lexeme.text == "(") {
                stream_.take();
                ExpressionPtr inner = tuple(true, true);
                stream_.expect_symbol(")");
                return inner;
            }
            if (lexeme.text == "[") return list();
            if (lexeme.text == "{") return dict();
            break;
        default:
            break;
    }
    stream_.fail(fmt::format("expected an expression, got {}", describe(lexeme)));
}

ExpressionPtr ExpressionParser::number() {
    const Lexeme& lexeme = stream_.take();
    const char* begin = lexeme.text.data();
    const char* const end = begin + lexeme.text.size();
    if (lexeme.kind == Kind::floating) {
        double value = 0;
        const auto [stop, error] = std::from_chars(begin, end, value);
        if (stop != end || error != std::errc()) {
            throw Error(fmt::format("the number {} is out of range", lexeme.text), lexeme.line);
        }
        return make(lexeme.line, 0, Constant{value});
    }
    int base = 10;
    if (lexeme.text.size() > 2 && lexeme.text[0] == '0' && lexeme.text[1] > '9') {
        const char letter = static_cast<char>(lexeme.text[1] | 0x20);
        base = letter == 'x' ? 16 : letter == 'o' ? 8 : 2;
        begin += 2;
    }
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(begin, end, value, base);
    if (stop != end || error != std::errc()) {
        throw Error(fmt::format("the integer {} is malformed or out of the 64-bit range", lexeme.text), lexeme.line);
    }
    return make(lexeme.line, 0, Constant{value});
}

ExpressionPtr ExpressionParser::tuple(bool with_conditional, bool in_parentheses) {
    const int line = stream_.current().line;
    Sequence node{.is_tuple = true, .items = {}};
    const auto at_end = [&] {
        const Lexeme& lexeme = stream_.current();
        return lexeme.kind == Kind::variable_end || lexeme.kind == Kind::block_end || lexeme.is_symbol(")") ||
               (!node.items.empty() && lexeme.is_name("recursive"));
    };
    bool has_comma = false;
    while (!at_end()) {
        node.items.push_back(expression(with_conditional));
        if (!stream_.skip_symbol(",")) break;
        has_comma = true;
    }
    if (!has_comma && !node.items.empty()) return std::move(node.items.front());
    if (!has_comma && !in_parentheses) {
        stream_.fail(fmt::format("expected an expression, got {}", describe(stream_.current())));
    }
    const int below = tallest(node.items);
    return make(line, below, std::move(node));
}

ExpressionPtr ExpressionParser::list() {
    const int line = stream_.take().line;
    Sequence node{.is_tuple = false, .items = {}};
    while (!stream_.current().is_symbol("]")) {
        node.items.push_back(expression());
        if (!stream_.skip_symbol(",")) break;
    }
    stream_.expect_symbol("]");
    const int below = tallest(node.items);
    return make(line, below, std::move(node));
}

ExpressionPtr ExpressionParser::dict() {
    const int line = stream_.take().line;
    DictLiteral node;
    int below = 0;
    while (!stream_.current().is_symbol("}")) {
        ExpressionPtr key = expression();
        stream_.expect_symbol(":");
        ExpressionPtr value = expression();
        below = std::max({below, key->height, value->height});
        node.pairs.push_back({std::move(key), std::move(value)});
        if (!stream_.skip_symbol(",")) break;
    }
    stream_.expect_symbol("}");
    return make(line, below, std::move(node));
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr object) {
    while (true) {
        if (stream_.current().is_symbol(".")) {
            object = attribute(std::move(object));
        } else if (stream_.current().is_symbol("[")) {
            object = subscript(std::move(object));
        } else if (stream_.current().is_symbol("(")) {
            object = call(std::move(object));
        } else {
            return object;
        }
    }
}

ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr subject) {
    while (true) {
        if (stream_.current().is_symbol("|")) {
            subject = filters(std::move(subject));
        } else if (stream_.current().is_name("is")) {
            subject = test(std::move(subject));
        } else if (stream_.current().is_symbol("(")) {
            subject = call(std::move(subject));
        } else {
            return subject;
        }
    }
}

ExpressionPtr ExpressionParser::attribute(ExpressionPtr object) {
    const int line = stream_.take().line;
    const int below = object->height;
    if (stream_.current().kind == Kind::name) {
        std::string name = stream_.take().text;
        return make(line, below, Attribute{std::move(object), std::move(name)});
    }
    if (stream_.current().kind != Kind::integer) {
        stream_.fail(fmt::format("expected a name or a number after '.', got {}", describe(stream_.current())));
    }
    ExpressionPtr index = number();
    return make(line, below, Item{std::move(object), std::move(index)});
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr object) {
    const int line = stream_.take().line;
    int below = object->height;
    Slice slice;
    bool is_slice = false;
    ExpressionPtr first;
    const auto part = [&]() -> ExpressionPtr {
        if (stream_.current().is_symbol(":") || stream_.current().is_symbol("]")) return nullptr;
        ExpressionPtr value = expression();
        below = std::max(below, value->height);
        return value;
    };
    first = part();
    if (stream_.skip_symbol(":")) {
        is_slice = true;
        slice.start = std::move(first);
        slice.stop = part();
        if (stream_.skip_symbol(":")) slice.step = part();
    }
    if (stream_.current().is_symbol(",")) stream_.fail("a subscript with several indices is not supported");
    if (!is_slice && !first) stream_.fail("expected an index, got ']'");
    stream_.expect_symbol("]");
    if (!is_slice) return make(line, below, Item{std::move(object), std::move(first)});
    slice.object = std::move(object);
    return make(line, below, std::move(slice));
}

CallArguments ExpressionParser::arguments() {
    CallArguments result;
    const int line = stream_.current().line;
    const auto ensure = [&](bool condition) {
        if (!condition) throw Error("the arguments of this call are in no valid order", line);
    };
    stream_.expect_symbol("(");
    while (!stream_.current().is_symbol(")")) {
        if (stream_.skip_symbol("*")) {
            ensure(!result.unpacked && !result.unpacked_named);
            result.unpacked = expression();
        } else if (stream_.skip_symbol("**")) {
            ensure(!result.unpacked_named);
            result.unpacked_named = expression();
        } else if (stream_.current().kind == Kind::name && stream_.ahead().is_symbol("=")) {
            ensure(!result.unpacked_named);
            std::string name = stream_.take().text;
            stream_.take();
            result.named.push_back({std::move(name), expression()});
        } else {
            ensure(!result.unpacked && !result.unpacked_named && result.named.empty());
            result.positional.push_back(expression());
        }
        if (!stream_.skip_symbol(",")) break;
    }
    stream_.expect_symbol(")");
    return result;
}

ExpressionPtr ExpressionParser::call(ExpressionPtr callee) {
    const int line = stream_.current().line;
    Call node{.callee = std::move(callee), .arguments = arguments()};
    const int below = std::max(height_of(node.callee), height_of(node.arguments));
    return make(line, below, std::move(node));
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr subject, bool inline_start) {
    while (inline_start || stream_.skip_symbol("|")) {
        inline_start = false;
        const int line = stream_.current().line;
        Filter node{.subject = std::move(subject), .name = stream_.expect_any_name(), .arguments = {}};
        while (stream_.skip_symbol(".")) node.name.append(".").append(stream_.expect_any_name());
        if (stream_.current().is_symbol("(")) node.arguments = arguments();
        const int below = std::max(height_of(node.subject), height_of(node.arguments));
        subject = make(line, below, std::move(node));
    }
    return subject;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr subject) {
    const int line = stream_.take().line;
    const bool negated = stream_.skip_name("not");
    Test node{.subject = std::move(subject), .name = stream_.expect_any_name(), .arguments = {}};
    while (stream_.skip_symbol(".")) node.name.append(".").append(stream_.expect_any_name());
    const Lexeme& next = stream_.current();
    const bool starts_value = next.kind == Kind::name || next.kind == Kind::string || next.kind == Kind::integer ||
                              next.kind == Kind::floating || next.is_symbol("[") || next.is_symbol("{");
    if (next.is_symbol("(")) {
        node.arguments = arguments();
    } else if (starts_value && !next.is_name("else") && !next.is_name("or") && !next.is_name("and")) {
        if (next.is_name("is")) stream_.fail("tests cannot be chained with 'is'");
        node.arguments.positional.push_back(postfix(primary()));
    }
    const int below = std::max(height_of(node.subject), height_of(node.arguments));
    ExpressionPtr result = make(line, below, std::move(node));
    if (!negated) return result;
    return make(line, below + 1, Unary{Unary::Operator::logical_not, std::move(result)});
}

Target ExpressionParser::single_target(bool with_namespace) {
    const Nesting nesting(stream_);
    Target result;
    result.line = stream_.current().line;
    if (stream_.skip_symbol("(")) {
        result = target(with_namespace);
        stream_.expect_symbol(")");
        return result;
    }
    std::string name = stream_.expect_any_name();
    if (name == "true" || name == "True" || name == "false" || name == "False" || name == "none" || name == "None") {
        throw Error(fmt::format("'{}' cannot be assigned to", name), result.line);
    }
    if (with_namespace && stream_.skip_symbol(".")) {
        result.node = Target::Attribute{std::move(name), stream_.expect_any_name()};
    } else {
        result.node = std::move(name);
    }
    return result;
}

Target ExpressionParser::target(bool with_namespace, bool with_tuple) {
    Target first = single_target(with_namespace);
    if (!with_tuple || !stream_.current().is_symbol(",")) return first;
    Target result;
    result.line = first.line;
    std::vector<Target> parts;
    parts.push_back(std::move(first));
    while (stream_.skip_symbol(",")) {
        if (stream_.current().kind != Kind::name && !stream_.current().is_symbol("(")) break;
        if (stream_.current().is_name("in")) break;
        parts.push_back(single_target(with_namespace));
    }
    result.node = std::move(parts);
    return result;
}

}  // namespace vigil::jinja
