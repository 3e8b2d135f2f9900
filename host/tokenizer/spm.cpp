#include "host/tokenizer/spm.h"

#include <cstdint>
#include <queue>

#include "host/tokenizer/utf8.h"

namespace vigil {
namespace {

// A stretch of the text, linked in text order. One that was merged into its left neighbour has length 0.
struct Symbol {
    std::uint32_t offset;
    std::uint32_t length;
    std::uint32_t previous;
    std::uint32_t next;
};
constexpr std::uint32_t none = UINT32_MAX;

// A pair that could be merged when it was found. It is stale once the two are no longer `length` bytes long together.
struct Candidate {
    float score;
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t length;
};
struct WorseCandidate {
    bool operator()(const Candidate& a, const Candidate& b) const {
        return a.score != b.score ? a.score < b.score : a.left > b.left;
    }
};

}  // namespace

Spm::Spm(TextIndex pieces, std::vector<float> scores, const std::array<Token, 256>& byte_tokens)
    : pieces_(std::move(pieces)), scores_(std::move(scores)), byte_tokens_(byte_tokens) {}

void Spm::encode(std::string_view text, std::vector<Token>& out) const {
    std::vector<Symbol> symbols;
    for (std::size_t offset = 0; offset < text.size();) {
        const utf8::Unit unit = utf8::next(text.substr(offset));
        // Of bytes that are no sequence each is a symbol of its own.
        const std::size_t length = unit.kind == utf8::Kind::valid ? unit.length : 1;
        const auto index = static_cast<std::uint32_t>(symbols.size());
        symbols.push_back({static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(length),
                           index == 0 ? none : index - 1, index + 1});
        offset += length;
    }
    if (symbols.empty()) return;
    symbols.back().next = none;

    std::priority_queue<Candidate, std::vector<Candidate>, WorseCandidate> queue;
    const auto consider = [&](std::uint32_t left, std::uint32_t right) {
        if (left == none || right == none) return;
        const std::uint32_t length = symbols[left].length + symbols[right].length;
        const Token token = find_text(pieces_, text.substr(symbols[left].offset, length));
        if (token != no_token) queue.push({scores_[static_cast<std::size_t>(token)], left, right, length});
    };
    for (std::uint32_t i = 1; i < symbols.size(); ++i) consider(i - 1, i);

    while (!queue.empty()) {
        const Candidate best = queue.top();
        queue.pop();
        Symbol& left = symbols[best.left];
        Symbol& right = symbols[best.right];
        if (left.length == 0 || right.length == 0 || left.length + right.length != best.length) continue;
        left.length += right.length;
        right.length = 0;
        left.next = right.next;
        if (left.next != none) symbols[left.next].previous = best.left;
        consider(left.previous, best.left);
        consider(best.left, left.next);
    }

    for (std::uint32_t i = 0; i != none; i = symbols[i].next) {
        const std::string_view piece = text.substr(symbols[i].offset, symbols[i].length);
        if (const Token token = find_text(pieces_, piece); token != no_token) {
            out.push_back(token);
        } else {
            for (const char byte : piece) out.push_back(byte_tokens_[static_cast<unsigned char>(byte)]);
        }
    }
}

}  // namespace vigil
