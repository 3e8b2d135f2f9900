// vigil tokenize: text to token ids, and back.
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/gguf/gguf.h"
#include "host/tokenizer/tokenizer.h"
#include "runtime/vigil/checks.h"
#include "runtime/vigil/commands.h"
#include "runtime/vigil/messages.h"
#include "runtime/vigil/options.h"
#include "runtime/vigil/standard_output.h"

namespace vigil::program {
namespace {

struct TokenizeOptions {
    std::string path;
    std::string pre_tokenizer;
    std::optional<std::string> text;
    std::optional<std::string> ids;
    EncodingOptions encoding;
};

constexpr std::string_view kSeparators = " ,\t\r\n";

// "1 2 3" or "1,2,3".
std::vector<Token> parse_ids(std::string_view text, std::int32_t vocab_size) {
    std::vector<Token> ids;
    for (std::size_t at = text.find_first_not_of(kSeparators); at != std::string_view::npos;
         at = text.find_first_not_of(kSeparators, at)) {
        const std::size_t end = std::min(text.find_first_of(kSeparators, at), text.size());
        const std::string word(text.substr(at, end - at));
        Token id = 0;
        if (!parse_number(word, id)) throw UsageError(fmt::format("--detokenize: '{}' is no token id", word));
        if (id < 0 || id >= vocab_size)
            throw UsageError(fmt::format("--detokenize: token {} is outside the vocabulary of {}", id, vocab_size));
        ids.push_back(id);
        at = end;
    }
    return ids;
}

int tokenize(const TokenizeOptions& o) {
    if (o.text.has_value() == o.ids.has_value())
        throw UsageError(o.text ? "TEXT and --detokenize are both given: only one of them can be"
                                : "TEXT or --detokenize IDS is needed");
    const gguf::File file = gguf::File::open(o.path);
    const Tokenizer tokenizer = Tokenizer::from_gguf(
        file, o.pre_tokenizer.empty() ? std::nullopt : std::optional<std::string>(o.pre_tokenizer));
    for (const std::string& warning : tokenizer.warnings()) say(fmt::format("vigil: warning: {}\n", warning));
    if (o.ids)
        write_out(tokenizer.decode(parse_ids(*o.ids, tokenizer.vocab_size()), !o.encoding.no_special) + "\n");
    else
        write_out(fmt::format("{}\n", fmt::join(tokenizer.encode(*o.text, o.encoding.encode()), " ")));
    return kSuccess;
}

}  // namespace

Action add_tokenize(CLI::App& app) {
    const auto o = std::make_shared<TokenizeOptions>();
    CLI::App& command = *app.add_subcommand("tokenize", "Turn text into token ids, on one line, or back");
    add_model_path(command, o->path);
    command.add_option("TEXT", o->text, "Text to tokenize");
    command.add_option("--detokenize", o->ids,
                       "Token ids, separated by spaces or commas, to turn into text; with --no-special control tokens "
                       "give none");
    add_encoding_options(command, o->encoding);
    add_pre_tokenizer(command, o->pre_tokenizer);
    return [o] { return tokenize(*o); };
}

}  // namespace vigil::program
