#include "host/tokenizer/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <array>
#include <cstdint>
#include <fmt/format.h>
#include <pcre2.h>

#include "host/tokenizer/token.h"

namespace vigil {
namespace {

// Backtracking steps that one match may take: hundreds for each byte of a word of 1 MB, and an end within a second for
// a pattern that explodes.
constexpr std::uint32_t match_limit = 200'000'000;
constexpr std::uint32_t heap_limit_kib = 512 * 1024;  // for the interpreter, where JIT ran out of stack

std::string pcre2_message(int code) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(code, text.data(), text.size());
    return {text.begin(), std::find(text.begin(), text.end(), PCRE2_UCHAR{0})};
}

// PCRE2's \s is Unicode's White_Space and U+180E. The engines that the published patterns were written for leave that
// one out, so \s and \S are spelled out.
std::string with_unicode_white_space(std::string_view pattern) {
    std::string out;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] != '\\' || i + 1 == pattern.size()) {
            out += pattern[i];
            continue;
        }
        const char escaped = pattern[++i];
        if (escaped == 's') {
            out += "\\p{White_Space}";
        } else if (escaped == 'S') {
            out += "\\P{White_Space}";
        } else {
            out += '\\';
            out += escaped;
        }
    }
    return out;
}

struct MatchDataFree {
    void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
};
struct CodeFree {
    void operator()(pcre2_code* p) const { pcre2_code_free(p); }
};
struct MatchContextFree {
    void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};

}  // namespace

struct PreTokenizer::Pattern {
    std::unique_ptr<pcre2_code, CodeFree> code;
    std::unique_ptr<pcre2_match_context, MatchContextFree> limits;

    Pattern(std::string_view name, std::string_view source) {
        const std::string expression = with_unicode_white_space(source);
        int error = 0;
        PCRE2_SIZE offset = 0;
        code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE, &error, &offset,
                                 nullptr));
        if (!code) {
            throw TokenizerError(fmt::format("pre-tokenizer '{}': pattern '{}': {} at {}", name, expression,
                                             pcre2_message(error), offset));
        }
        // Without JIT support in the library this fails, and pcre2_match interprets.
        pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
        limits.reset(pcre2_match_context_create(nullptr));
        if (!limits) throw std::bad_alloc();
        pcre2_set_match_limit(limits.get(), match_limit);
        pcre2_set_heap_limit(limits.get(), heap_limit_kib);
    }

    // PCRE2's result: 1 for a match, PCRE2_ERROR_NOMATCH, or another error.
    int match(std::string_view piece, std::size_t start, pcre2_match_data* data) const {
        const auto run = [&](std::uint32_t options) {
            return pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(piece.data()), piece.size(), start, options,
                               data, limits.get());
        };
        // The caller vouches for UTF-8; checking it again for every word would make a long text quadratic.
        const int result = run(PCRE2_NO_UTF_CHECK);
        return result == PCRE2_ERROR_JIT_STACKLIMIT ? run(PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT) : result;
    }
};

PreTokenizer::PreTokenizer(const PreTokenizerDefinition& definition) : name_(definition.name) {
    for (const std::string_view pattern : definition.patterns) patterns_.emplace_back(name_, pattern);
}

PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
    const std::unique_ptr<pcre2_match_data, MatchDataFree> data(pcre2_match_data_create(1, nullptr));
    if (!data) throw std::bad_alloc();
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());

    std::vector<std::string_view> pieces;
    if (!text.empty()) pieces.push_back(text);
    std::vector<std::string_view> cut;
    for (const Pattern& pattern : patterns_) {
        cut.clear();
        for (const std::string_view piece : pieces) {
            std::size_t done = 0;
            while (done < piece.size()) {
                const int result = pattern.match(piece, done, data.get());
                if (result == PCRE2_ERROR_NOMATCH || (result >= 0 && bounds[1] == bounds[0])) break;
                if (result < 0) {
                    throw TokenizerError(
                        fmt::format("pre-tokenizer '{}': {} at byte {} of {}", name_, pcre2_message(result),
                                    static_cast<std::size_t>(piece.data() - text.data()) + done, text.size()));
                }
                if (bounds[0] > done) cut.push_back(piece.substr(done, bounds[0] - done));
                cut.push_back(piece.substr(bounds[0], bounds[1] - bounds[0]));
                done = bounds[1];
            }
            if (done < piece.size()) cut.push_back(piece.substr(done));
        }
        pieces.swap(cut);
    }
    return pieces;
}

}  // namespace vigil
