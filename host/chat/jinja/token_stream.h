// What both halves of the parser read from, and the depth they share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "host/chat/jinja/ast.h"
#include "host/chat/jinja/lexer.h"

namespace vigil::jinja {

class TokenStream {
   public:
    explicit TokenStream(std::vector<Lexeme> lexemes) : lexemes_(std::move(lexemes)) {}

    const Lexeme& current() const noexcept { return lexemes_[at_]; }
    const Lexeme& ahead() const noexcept { return lexemes_[at_ + 1 < lexemes_.size() ? at_ + 1 : at_]; }
    // Steps over the current lexeme and returns it; stays at the end.
    const Lexeme& take() noexcept { return lexemes_[at_ + 1 < lexemes_.size() ? at_++ : at_]; }

    bool skip_name(std::string_view name);
    bool skip_symbol(std::string_view symbol);
    void expect_name(std::string_view name);
    void expect_symbol(std::string_view symbol);
    void expect(Lexeme::Kind kind);
    std::string expect_any_name();

    [[noreturn]] void fail(const std::string& what) const;

   private:
    friend class Nesting;
    std::vector<Lexeme> lexemes_;
    std::size_t at_ = 0;
    int depth_ = 0;
};

// One level of recursion in the parser. Throws Error where a template nests too deep.
class Nesting {
   public:
    explicit Nesting(TokenStream& stream);
    ~Nesting() { --stream_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    TokenStream& stream_;
};

}  // namespace vigil::jinja
