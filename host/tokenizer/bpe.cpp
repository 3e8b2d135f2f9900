#include "host/tokenizer/bpe.h"

#include <fmt/format.h>
#include <queue>

#include "host/tokenizer/byte_alphabet.h"
#include "host/tokenizer/quoted.h"

namespace vigil {
namespace {

std::uint64_t pair_key(Token left, Token right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

// The word as a list of symbols linked in text order. A symbol that was merged into its left neighbour is `gone`.
struct Symbol {
    Token token;
    std::uint32_t previous;
    std::uint32_t next;
};
constexpr std::uint32_t none = UINT32_MAX;
constexpr Token gone = -2;

// A pair that could be merged when it was found. It is stale once either half has changed.
struct Candidate {
    std::uint32_t rank;
    std::uint32_t left;  // index of the left symbol
    Token left_token;
    Token right_token;
    Token result;
};
struct WorseCandidate {
    bool operator()(const Candidate& a, const Candidate& b) const {
        return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
    }
};

}  // namespace

Bpe::Bpe(const TextIndex& by_text, const std::vector<std::string>& merges, bool ignore_merges, TextIndex whole_words)
    : ignore_merges_(ignore_merges), whole_words_(std::move(whole_words)) {
    for (std::size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
        byte_tokens_[byte] = find_text(by_text, byte_alphabet::spell(static_cast<std::uint8_t>(byte)));
    }
    merges_.reserve(merges.size());
    std::string joined;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
        const std::string_view merge = merges[rank];
        const auto fail = [&](const std::string& why) {
            throw TokenizerError(fmt::format("tokenizer.ggml.merges[{}] = {}: {}", rank, quoted(merge), why));
        };
        // The first character is never the separator: old vocabularies have tokens that begin with a plain space.
        const std::size_t space = merge.find(' ', 1);
        if (space == std::string_view::npos || space + 1 == merge.size()) fail("not two texts with a space between");
        const auto token = [&](std::string_view text) {
            const Token found = find_text(by_text, text);
            if (found == no_token) fail(fmt::format("{} is not in tokenizer.ggml.tokens", quoted(text)));
            return found;
        };
        joined.assign(merge.substr(0, space)).append(merge.substr(space + 1));
        const Token left = token(merge.substr(0, space));
        const Token right = token(merge.substr(space + 1));
        // Of a pair that is listed twice the better rank counts.
        merges_.try_emplace(pair_key(left, right), Merge{static_cast<std::uint32_t>(rank), token(joined)});
    }
}

const Bpe::Merge* Bpe::find_merge(Token left, Token right) const {
    const auto it = merges_.find(pair_key(left, right));
    return it == merges_.end() ? nullptr : &it->second;
}

void Bpe::encode_word(std::string_view word, std::vector<Token>& out) const {
    if (ignore_merges_) {
        if (const Token token = find_text(whole_words_, word); token != no_token) {
            out.push_back(token);
            return;
        }
    }

    std::vector<Symbol> symbols(word.size());
    for (std::uint32_t i = 0; i < symbols.size(); ++i) {
        symbols[i] = {byte_tokens_[static_cast<unsigned char>(word[i])], i == 0 ? none : i - 1,
                      i + 1 == symbols.size() ? none : i + 1};
    }
    std::priority_queue<Candidate, std::vector<Candidate>, WorseCandidate> queue;
    const auto consider = [&](std::uint32_t left) {
        if (left == none || symbols[left].next == none) return;
        const Token left_token = symbols[left].token;
        const Token right_token = symbols[symbols[left].next].token;
        if (const Merge* merge = find_merge(left_token, right_token)) {
            queue.push({merge->rank, left, left_token, right_token, merge->result});
        }
    };
    for (std::uint32_t i = 0; i + 1 < symbols.size(); ++i) consider(i);

    while (!queue.empty()) {
        const Candidate best = queue.top();
        queue.pop();
        Symbol& left = symbols[best.left];
        if (left.token != best.left_token || left.next == none || symbols[left.next].token != best.right_token)
            continue;
        Symbol& right = symbols[left.next];
        left.token = best.result;
        right.token = gone;
        left.next = right.next;
        if (left.next != none) symbols[left.next].previous = best.left;
        consider(left.previous);
        consider(best.left);
    }

    for (std::uint32_t i = symbols.empty() ? none : 0; i != none; i = symbols[i].next) {
        if (symbols[i].token != no_token) out.push_back(symbols[i].token);
    }
}

}  // namespace vigil
