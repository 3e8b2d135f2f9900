// Command lines that can't be meant, and files that can't be used: the exit code, and a message that names the flag or
// file and the value.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/cli/child.h"
#include "tests/cli/files.h"

using namespace vigil::test;

namespace {

struct BadLine {
    std::vector<std::string> arguments;  // MODEL, TEXT and FOLDER are put in their place
    int exit_code;
    std::vector<std::string> message;  // each is part of it
};

const std::vector<BadLine> kBadLines = {
    {{}, 2, {"subcommand is required", "vigil --help"}},
    {{"generate"}, 2, {"no command 'generate'", "vigil --help"}},
    {{"--bogus"}, 2, {"vigil --help"}},
    {{"run"}, 2, {"MODEL is required", "vigil run --help"}},
    {{"run", "MODEL", "hi", "--bogus"}, 2, {"not expected", "--bogus"}},
    {{"run", "MODEL", "two", "prompts"}, 2, {"not expected", "prompts"}},

    {{"run", "MODEL", "hi", "-p", "there"}, 2, {"PROMPT and --prompt"}},
    {{"run", "MODEL", "-p", "hi", "-f", "TEXT"}, 2, {"--prompt and --file"}},
    {{"run", "MODEL", "hi", "-p", "there", "-f", "TEXT"}, 2, {"3 times", "PROMPT and --prompt and --file"}},
    {{"run", "MODEL"}, 2, {"the prompt is empty"}},
    {{"run", "MODEL", "-f", "FOLDER/missing.txt"}, 1, {"FOLDER/missing.txt", "No such file"}},
    {{"run", "MODEL", "-f", "FOLDER"}, 1, {"FOLDER", "Is a directory"}},
    {{"run", "MODEL", "far too long for this", "-c", "4"}, 1, {"the prompt has", "tokens", "--ctx-size", "4"}},

    {{"run", "MODEL", "hi", "-n"}, 2, {"--n-predict", "missing"}},
    {{"run", "MODEL", "hi", "-n", "1", "-n", "2"}, 2, {"--n-predict"}},
    {{"run", "MODEL", "hi", "-n", "-2"}, 2, {"--n-predict", "'-2'"}},
    {{"run", "MODEL", "hi", "-n", "12x"}, 2, {"--n-predict", "'12x'"}},
    {{"run", "MODEL", "hi", "-n", "99999999999"}, 2, {"--n-predict", "'99999999999'"}},
    {{"run", "MODEL", "hi", "-c", "-1"}, 2, {"--ctx-size", "'-1'"}},
    {{"run", "MODEL", "hi", "-c", "2000000000"}, 1, {"tiny.gguf", "2000000000"}},
    {{"run", "MODEL", "hi", "-t", "-1"}, 2, {"--threads", "'-1'"}},
    {{"run", "MODEL", "hi", "--temp", "nan"}, 2, {"--temp", "'nan'"}},
    {{"run", "MODEL", "hi", "--temp", "-0.5"}, 2, {"--temp", "'-0.5'"}},
    {{"run", "MODEL", "hi", "--temp", "warm"}, 2, {"--temp", "'warm'"}},
    {{"run", "MODEL", "hi", "--top-k", "1.5"}, 2, {"--top-k", "'1.5'"}},
    {{"run", "MODEL", "hi", "--top-p", "1.01"}, 2, {"--top-p", "'1.01'"}},
    {{"run", "MODEL", "hi", "--min-p", "-0.1"}, 2, {"--min-p", "'-0.1'"}},
    {{"run", "MODEL", "hi", "--repeat-penalty", "0"}, 2, {"--repeat-penalty", "'0'"}},
    {{"run", "MODEL", "hi", "--presence-penalty", "inf"}, 2, {"--presence-penalty", "'inf'"}},
    {{"run", "MODEL", "hi", "--frequency-penalty", ""}, 2, {"--frequency-penalty"}},
    {{"run", "MODEL", "hi", "--repeat-last-n", "-2"}, 2, {"--repeat-last-n", "'-2'"}},
    {{"run", "MODEL", "hi", "--seed", "-2"}, 2, {"--seed", "'-2'"}},
    {{"run", "MODEL", "hi", "--seed", "18446744073709551616"}, 2, {"--seed", "'18446744073709551616'"}},
    {{"run", "MODEL", "hi", "--stop", ""}, 2, {"--stop", "empty"}},
    {{"run", "MODEL", "hi", "--device", "gpu"}, 2, {"--device", "'gpu'", "cuda:N"}},
    {{"run", "MODEL", "hi", "--device", "cuda:one"}, 2, {"--device", "'cuda:one'"}},
    {{"run", "MODEL", "hi", "--device", "cuda:-1"}, 2, {"--device", "'cuda:-1'"}},
    {{"run", "MODEL", "hi", "--device", "cuda:99"}, 1, {"CUDA"}},
    {{"run", "MODEL", "hi", "--dispatch", "fast"}, 2, {"--dispatch", "'fast'", "persistent, graph, launch"}},
    {{"run", "MODEL", "hi", "--pre", ""}, 2, {"--pre", "empty"}},
    {{"run", "MODEL", "hi", "--pre", "nonsense"}, 1, {"nonsense", "llama-bpe"}},

    {{"run", "FOLDER/missing.gguf", "hi"}, 1, {"FOLDER/missing.gguf", "No such file"}},
    {{"run", "FOLDER", "hi"}, 1, {"FOLDER"}},
    {{"run", "TEXT", "hi"}, 1, {"text.txt", "GGUF"}},
    {{"run", "TRUNCATED", "hi"}, 1, {"truncated.gguf"}},

    {{"tokenize", "MODEL"}, 2, {"TEXT or --detokenize"}},
    {{"tokenize", "MODEL", "hi", "--detokenize", "1"}, 2, {"TEXT and --detokenize"}},
    {{"tokenize", "MODEL", "--detokenize", "1 two"}, 2, {"--detokenize", "'two'"}},
    {{"tokenize", "MODEL", "--detokenize", "1,512"}, 2, {"--detokenize", "512", "vocabulary"}},
    {{"tokenize", "MODEL", "--detokenize", "-1"}, 2, {"--detokenize", "-1"}},
    {{"tokenize", "FOLDER/missing.gguf", "hi"}, 1, {"FOLDER/missing.gguf"}},

    {{"perplexity", "MODEL"}, 2, {"FILE is required"}},
    {{"perplexity", "MODEL", "FOLDER/missing.txt"}, 1, {"FOLDER/missing.txt"}},
    {{"perplexity", "MODEL", "/dev/null"}, 1, {"/dev/null", "0 tokens"}},
    {{"perplexity", "MODEL", "TEXT", "-c", "1"}, 2, {"--ctx-size 1"}},
    {{"perplexity", "MODEL", "TEXT", "--logits-out", ""}, 2, {"--logits-out", "empty"}},
    {{"perplexity", "MODEL", "TEXT", "--logits-out", "FOLDER/none/l"}, 1, {"FOLDER/none/l: No such file"}},
    {{"perplexity", "MODEL", "TEXT", "--logits-out", "FOLDER"}, 1, {"Is a directory"}},

    {{"bench"}, 2, {"MODEL is required"}},
    {{"bench", "MODEL", "-p", "0", "-n", "0"}, 2, {"nothing to measure", "--n-prompt"}},
    {{"bench", "MODEL", "-p", "-1"}, 2, {"--n-prompt", "'-1'"}},
    {{"bench", "MODEL", "-n", "4,x"}, 2, {"--n-gen", "'x'"}},
    {{"bench", "MODEL", "-d", "99999999999"}, 2, {"--n-depth", "'99999999999'"}},
    {{"bench", "MODEL", "-d", "2147483647"}, 2, {"--n-depth", "21474841"}},
    {{"bench", "MODEL", "-r", "0"}, 2, {"--repetitions", "'0'"}},
    {{"bench", "MODEL", "-o", "yaml"}, 2, {"--output", "'yaml'", "md, json, csv"}},
    {{"bench", "MODEL", "--dispatch", "graph,fast"}, 2, {"--dispatch", "'fast'"}},
    {{"bench", "MODEL", "--device", "gpu"}, 2, {"--device", "'gpu'"}},
    {{"bench", "MODEL", "--device", "cuda:99"}, 1, {"CUDA"}},
    {{"bench", "MODEL", "--read-gib", "-1"}, 2, {"--read-gib", "'-1'"}},
    {{"bench", "MODEL", "--json-file", "FOLDER/none/r"}, 1, {"FOLDER/none/r: No such file"}},
    {{"bench", "MODEL", "-n", "0", "--trace", "FOLDER/t"}, 2, {"--trace", "--n-gen"}},
    {{"bench", "MODEL", "-n", "18", "--trace", "FOLDER/t"}, 2, {"--trace-tokens 16:4", "18"}},

    {{"run", "MODEL", "hi", "--trace", ""}, 2, {"--trace", "empty"}},
    {{"run", "MODEL", "hi", "--trace", "FOLDER/none/t"}, 1, {"FOLDER/none/t: No such file"}},
    {{"run", "MODEL", "hi", "-n", "8", "--trace", "FOLDER/t"}, 2, {"--trace-tokens 16:4", "at most 8 tokens"}},
    {{"run", "MODEL", "hi", "--trace-tokens", "3"}, 2, {"--trace-tokens", "FIRST:COUNT", "'3'"}},
    {{"run", "MODEL", "hi", "--trace-tokens", "3:0"}, 2, {"--trace-tokens", "'3:0'"}},
    {{"run", "MODEL", "hi", "--trace-tokens", "-1:2"}, 2, {"--trace-tokens", "'-1:2'"}},

    {{"inspect"}, 2, {"MODEL is required"}},
    {{"inspect", "TEXT"}, 1, {"text.txt", "GGUF"}},
    {{"inspect", "MODEL", "extra"}, 2, {"not expected", "extra"}},
    {{"doctor", "extra"}, 2, {"not expected", "extra"}},
};

void replace(std::string& text, const std::string& what, const std::string& with) {
    if (const std::size_t at = text.find(what); at != std::string::npos) text.replace(at, what.size(), with);
}

class Places {
   public:
    Places() {
        truncated_ = write_file("truncated.gguf", read_file(tiny_model()).substr(0, 5000));
        text_ = write_file("text.txt", "Some words to read.");
    }
    std::string fill_in(std::string text) const {
        replace(text, "MODEL", tiny_model());
        replace(text, "TRUNCATED", truncated_);
        replace(text, "TEXT", text_);
        replace(text, "FOLDER", text_.parent_path());
        return text;
    }

   private:
    std::filesystem::path truncated_, text_;
};

}  // namespace

TEST_CASE("a bad command line ends with its exit code and a message that says what is wrong") {
    const Places places;
    for (const BadLine& line : kBadLines) {
        std::vector<std::string> arguments;
        std::string shown;
        for (const std::string& argument : line.arguments) {
            arguments.push_back(places.fill_in(argument));
            shown += " '" + argument + "'";
        }
        CAPTURE(shown);
        const Result result = run(arguments);
        CAPTURE(result.err);
        CHECK(result.exit_code == line.exit_code);
        CHECK(result.out == "");
        CHECK(result.err.find("vigil: ") != std::string::npos);
        for (const std::string& part : line.message) {
            // "TEXT" may be the name of an argument, or stand for the file.
            CAPTURE(part);
            const bool said = result.err.find(part) != std::string::npos ||
                              result.err.find(places.fill_in(part)) != std::string::npos;
            CHECK(said);
        }
    }
}
