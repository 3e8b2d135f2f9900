// StreamingDecoder: tokens in, whole characters out.
#include "host/tokenizer/tokenizer.h"
#include "host/tokenizer/utf8.h"

namespace vigil {

StreamingDecoder::StreamingDecoder(const Tokenizer& tokenizer, bool with_special, bool at_start)
    : tokenizer_(&tokenizer), with_special_(with_special), at_start_(at_start) {}

std::string StreamingDecoder::push(Token token) {
    const std::string piece = tokenizer_->piece(token, with_special_);
    std::string_view bytes = piece;
    if (at_start_ && !bytes.empty()) {
        at_start_ = false;
        if (tokenizer_->drops_leading_space() && bytes.front() == ' ') bytes.remove_prefix(1);
    }
    pending_ += bytes;

    std::string out;
    std::string_view rest = pending_;
    while (!rest.empty()) {
        const utf8::Unit unit = utf8::next(rest);
        if (unit.kind == utf8::Kind::incomplete) break;
        out += unit.kind == utf8::Kind::valid ? rest.substr(0, unit.length) : utf8::replacement;
        rest.remove_prefix(unit.length);
    }
    pending_.erase(0, pending_.size() - rest.size());
    return out;
}

std::string StreamingDecoder::finish() {
    // What is pending began like a sequence and no more bytes will come: one character is lost.
    std::string out(pending_.empty() ? std::string_view{} : utf8::replacement);
    pending_.clear();
    return out;
}

}  // namespace vigil
