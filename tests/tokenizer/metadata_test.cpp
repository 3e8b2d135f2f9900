// What a file may say about its tokenizer: guesses that are made and told, and everything that is refused by key and
// value.
#include <cmath>
#include <doctest/doctest.h>
#include <functional>
#include <limits>

#include "tests/tokenizer/golden.h"
#include "tests/tokenizer/vocabularies.h"

using namespace vigil;
using namespace vigil::test;

using Ids = std::vector<Token>;

namespace {

struct Hostile {
    const char* what;
    std::function<void(TokenizerSpec&)> spoil;
    std::vector<const char*> said;  // parts of the message
};

void check_refused(TokenizerSpec (*make)(), const std::vector<Hostile>& cases) {
    for (const Hostile& hostile : cases) {
        CAPTURE(hostile.what);
        TokenizerSpec spec = make();
        CHECK_NOTHROW(Tokenizer::from_spec(spec));
        hostile.spoil(spec);
        std::string message;
        try {
            Tokenizer::from_spec(spec);
        } catch (const TokenizerError& error) {
            message = error.what();
        }
        CAPTURE(message);
        CHECK(!message.empty());
        for (const char* part : hostile.said) CHECK(message.find(part) != std::string::npos);
    }
}

}  // namespace

TEST_CASE("spoilt metadata of a BPE vocabulary is refused, naming key and value") {
    check_refused(
        small_bpe,
        {
            {"unknown model",
             [](auto& s) { s.model = "bert"; },
             {"tokenizer.ggml.model = 'bert'", "gpt2", "llama", "--pre"}},
            {"empty model", [](auto& s) { s.model = ""; }, {"tokenizer.ggml.model = ''"}},
            {"unknown pre-tokenizer",
             [](auto& s) { s.pre = "gpt-7"; },
             {"tokenizer.ggml.pre = 'gpt-7'",
              "default, gpt-2, llama-bpe (llama3, llama-v3), qwen2 (deepseek-r1-qwen), smollm, tekken, deepseek-llm",
              "--pre"}},
            {"unprintable pre-tokenizer",
             [](auto& s) { s.pre = std::string("\x1b[31m\xff").append(5000, 'x'); },
             {"tokenizer.ggml.pre = ' [31m\uFFFDxxx", "…"}},
            {"no tokens", [](auto& s) { s.tokens.clear(); }, {"tokenizer.ggml.tokens has 0"}},
            {"token twice", [](auto& s) { s.tokens[256] = "ll"; }, {"tokenizer.ggml.tokens[257] = 'll'", "token 256"}},
            {"too few types", [](auto& s) { s.token_type->pop_back(); }, {"tokenizer.ggml.token_type has 262", "263"}},
            {"too many types",
             [](auto& s) { s.token_type->push_back(1); },
             {"tokenizer.ggml.token_type has 264", "263"}},
            {"type out of range", [](auto& s) { (*s.token_type)[7] = 7; }, {"tokenizer.ggml.token_type[7] = 7"}},
            {"negative type", [](auto& s) { (*s.token_type)[7] = -1; }, {"tokenizer.ggml.token_type[7] = -1"}},
            {"byte type on a text that names no byte",
             [](auto& s) { (*s.token_type)[256] = 6; },
             {"tokenizer.ggml.token_type[256] = 6", "'he'"}},
            {"no merges", [](auto& s) { s.merges.reset(); }, {"tokenizer.ggml.merges is missing"}},
            {"merge without a space",
             [](auto& s) { (*s.merges)[1] = "ll"; },
             {"tokenizer.ggml.merges[1] = 'll'", "space"}},
            {"empty merge", [](auto& s) { (*s.merges)[1] = ""; }, {"tokenizer.ggml.merges[1] = ''"}},
            {"merge without a right half", [](auto& s) { (*s.merges)[1] = "l "; }, {"tokenizer.ggml.merges[1] = 'l '"}},
            {"merge of one space", [](auto& s) { (*s.merges)[1] = " "; }, {"tokenizer.ggml.merges[1] = ' '"}},
            {"merge of an unknown left half",
             [](auto& s) { (*s.merges)[1] = "lx l"; },
             {"tokenizer.ggml.merges[1] = 'lx l'", "'lx' is not"}},
            {"merge of an unknown right half",
             [](auto& s) { (*s.merges)[1] = "l lx"; },
             {"tokenizer.ggml.merges[1] = 'l lx'", "'lx' is not"}},
            {"merge with an unknown result",
             [](auto& s) { (*s.merges)[1] = "l h"; },
             {"tokenizer.ggml.merges[1] = 'l h'", "'lh' is not"}},
            {"BOS out of range",
             [](auto& s) { s.bos_token_id = 263; },
             {"tokenizer.ggml.bos_token_id = 263", "263 tokens"}},
            {"EOS out of range",
             [](auto& s) { s.eos_token_id = UINT32_MAX; },
             {"tokenizer.ggml.eos_token_id = 4294967295"}},
            {"EOT out of range", [](auto& s) { s.eot_token_id = 70000; }, {"tokenizer.ggml.eot_token_id = 70000"}},
            {"EOM out of range", [](auto& s) { s.eom_token_id = 70000; }, {"tokenizer.ggml.eom_token_id = 70000"}},
            {"unknown token out of range",
             [](auto& s) { s.unknown_token_id = 70000; },
             {"tokenizer.ggml.unknown_token_id = 70000"}},
            {"fill-in-the-middle token out of range",
             [](auto& s) { s.fim_pad_token_id = 70000; },
             {"tokenizer.ggml.fim_pad_token_id = 70000"}},
            {"BOS wanted, but none",
             [](auto& s) {
                 s.add_bos_token = true;
                 s.bos_token_id.reset();
             },
             {"add_bos_token = true", "tokenizer.ggml.bos_token_id is missing"}},
            {"EOS wanted, but none",
             [](auto& s) {
                 s.add_eos_token = true;
                 s.eos_token_id.reset();
             },
             {"add_eos_token = true", "tokenizer.ggml.eos_token_id is missing"}},
        });
}

TEST_CASE("spoilt metadata of an SPM vocabulary is refused, naming key and value") {
    check_refused(
        small_spm,
        {
            {"no scores", [](auto& s) { s.scores.reset(); }, {"tokenizer.ggml.scores is missing"}},
            {"too few scores", [](auto& s) { s.scores->pop_back(); }, {"tokenizer.ggml.scores has 266", "267"}},
            {"too many scores", [](auto& s) { s.scores->push_back(0); }, {"tokenizer.ggml.scores has 268", "267"}},
            {"score that is no number",
             [](auto& s) { (*s.scores)[260] = std::nan(""); },
             {"tokenizer.ggml.scores[260]"}},
            {"byte token out of form",
             [](auto& s) { s.tokens[10] = "<0xG7>"; },
             {"tokenizer.ggml.token_type[10] = 6", "'<0xG7>'"}},
            {"token twice", [](auto& s) { s.tokens[260] = "ab"; }, {"tokenizer.ggml.tokens[260] = 'ab'"}},
        });
}

TEST_CASE("extreme but legal metadata makes a tokenizer that works") {
    TokenizerSpec spec = small_spm();
    (*spec.scores)[spm_ab] = std::numeric_limits<double>::infinity();
    (*spec.scores)[spm_bc] = -1e300;
    CHECK(Tokenizer::from_spec(spec).encode("abc") == Ids{1, spm_blank_ab, spm_c});
    spec = TokenizerSpec{};
    spec.model = "llama";
    spec.tokens = {""};
    spec.scores = {0};
    CHECK(Tokenizer::from_spec(spec).encode("ab") == Ids(5, 0));
    CHECK(Tokenizer::from_spec(spec).bos() == std::nullopt);
    spec.model = "gpt2";
    spec.pre = "gpt-2";
    spec.merges.emplace();
    CHECK(Tokenizer::from_spec(spec).encode("ab") == Ids{});
}

TEST_CASE("an override chooses the kind where the file's is unknown, and only a known one") {
    TokenizerSpec spec = small_bpe();
    spec.pre = "gpt-7";
    CHECK(Tokenizer::from_spec(spec, "gpt-2").encode("hello") == Ids{259});
    CHECK(Tokenizer::from_spec(spec, "llama-v3").kind() == "llama-bpe");
    spec.model = "something";
    CHECK(Tokenizer::from_spec(spec, "gpt-2").encode("hello") == Ids{259});
    CHECK_THROWS_WITH_AS(Tokenizer::from_spec(spec, "gpt-8"), doctest::Contains("--pre 'gpt-8' is unknown"),
                         TokenizerError);
    CHECK_THROWS_WITH_AS(Tokenizer::from_spec(spec, "spm"), doctest::Contains("tokenizer.ggml.scores"), TokenizerError);
    spec = small_spm();
    spec.model = "something";
    CHECK(Tokenizer::from_spec(spec, "spm").encode("ab") == Ids{1, spm_blank_ab});
}

TEST_CASE("a BPE vocabulary that names no pre-tokenizer is read as default, with a warning") {
    TokenizerSpec spec = small_bpe();
    CHECK(Tokenizer::from_spec(spec).warnings().empty());
    spec.pre.reset();
    const Tokenizer tokenizer = Tokenizer::from_spec(spec);
    CHECK(tokenizer.kind() == "default");
    REQUIRE(tokenizer.warnings().size() == 1);
    CHECK(tokenizer.warnings()[0].find("tokenizer.ggml.pre is missing") != std::string::npos);
}

TEST_CASE("a generation ends at eos, eot, eom and at well-known texts, which then count as control tokens") {
    TokenizerSpec spec = small_bpe();
    spec.eos_token_id = 10;
    spec.eot_token_id = 20;
    spec.eom_token_id = 30;
    for (const char* text : {"<|eot_id|>", "</s>", "<|fim_pad|>", "harmless"}) {
        spec.tokens.emplace_back(text);
        spec.token_type->push_back(1);
    }
    const Tokenizer tokenizer = Tokenizer::from_spec(spec);
    const auto ends = tokenizer.end_of_generation();
    CHECK(Ids(ends.begin(), ends.end()) == Ids{10, 20, 30, 261, 263, 264, 265});
    CHECK(tokenizer.is_control(263));
    CHECK(tokenizer.encode("a<|eot_id|>") == Ids{'a', 263});
    CHECK(tokenizer.decode(Ids{'a', 263}) == "a");
    spec.fim_pad_token_id = 40;  // the file's word counts more than the text
    const Tokenizer named = Tokenizer::from_spec(spec);
    CHECK(Ids(named.end_of_generation().begin(), named.end_of_generation().end()) ==
          Ids{10, 20, 30, 40, 261, 263, 264});
}

TEST_CASE("errors from a file begin with its name") {
    const auto path = golden_folder() / "gpt-2.gguf";
    const gguf::File file = gguf::File::open(path);
    CHECK_THROWS_WITH_AS(Tokenizer::from_gguf(file, "no-such"), doctest::Contains(path.c_str()), TokenizerError);
    CHECK(Tokenizer::from_gguf(file, "qwen2").kind() == "qwen2");
}
