#include "host/chat/jinja/token_stream.h"

#include <fmt/format.h>

#include "host/chat/jinja/error.h"
#include "host/chat/jinja/parser.h"

namespace vigil::jinja {

bool TokenStream::skip_name(std::string_view name) {
    if (!current().is_name(name)) return false;
    take();
    return true;
}

bool TokenStream::skip_symbol(std::string_view symbol) {
    if (!current().is_symbol(symbol)) return false;
    take();
    return true;
}

void TokenStream::expect_name(std::string_view name) {
    if (!skip_name(name)) fail(fmt::format("expected '{}', got {}", name, describe(current())));
}

void TokenStream::expect_symbol(std::string_view symbol) {
    if (!skip_symbol(symbol)) fail(fmt::format("expected '{}', got {}", symbol, describe(current())));
}

void TokenStream::expect(Lexeme::Kind kind) {
    if (current().kind != kind) {
        fail(fmt::format("expected {}, got {}", describe({kind, "", 0}), describe(current())));
    }
    take();
}

std::string TokenStream::expect_any_name() {
    if (current().kind != Lexeme::Kind::name) fail(fmt::format("expected a name, got {}", describe(current())));
    return take().text;
}

void TokenStream::fail(const std::string& what) const {
    throw Error(what, current().line);
}

Nesting::Nesting(TokenStream& stream) : stream_(stream) {
    if (stream.depth_ >= deepest_nesting) {
        stream.fail(fmt::format("the template's text nests deeper than {} levels", deepest_nesting));
    }
    ++stream.depth_;
}

}  // namespace vigil::jinja
