// vigil run: where the prompt comes from, what is printed, and what decides the text.
#include <algorithm>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"

using namespace vigil::test;

namespace {

const std::string kPrompt = "in the end there is an answer";

// `vigil run MODEL --json` and `more`, for 40 tokens if that says nothing else.
Transcript generate(const std::vector<std::string>& more, const std::string& input = "/dev/null") {
    std::vector<std::string> arguments = {"run", tiny_model(), "--json", "--ignore-eos"};
    if (std::find(more.begin(), more.end(), "-n") == more.end()) arguments.insert(arguments.end(), {"-n", "40"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return read_transcript(run_on_device(arguments, input).out);
}

}  // namespace

TEST_CASE("the prompt may be an argument, a flag, a file or standard input") {
    const auto ids = generate({kPrompt, "--seed", "1"}).ids();
    CHECK(ids.size() == 40);
    const std::string file = write_file("prompt.txt", kPrompt + "\n");
    CHECK(generate({"-p", kPrompt, "--seed", "1"}).ids() == ids);
    CHECK(generate({"--prompt=" + kPrompt, "--seed", "1"}).ids() == ids);
    CHECK(generate({"-f", file, "--seed", "1"}).ids() == ids);
    CHECK(generate({"-f", "-", "--seed", "1"}, file).ids() == ids);
    CHECK(generate({"--seed", "1"}, file).ids() == ids);
    CHECK(generate({"-p", "another prompt", "--seed", "1"}).ids() != ids);
}

TEST_CASE("the seed decides the text, and without one there is a new text each time") {
    const auto seven = generate({kPrompt, "--seed", "7"});
    CHECK(seven.summary.at("seed") == 7);
    CHECK(generate({kPrompt, "--seed", "7"}).ids() == seven.ids());
    CHECK(generate({kPrompt, "--seed", "8"}).ids() != seven.ids());
    const auto random = generate({kPrompt});
    CHECK(generate({kPrompt}).ids() != random.ids());
    const auto seed = std::to_string(random.summary.at("seed").get<std::uint64_t>());
    CHECK(generate({kPrompt, "--seed", seed}).ids() == random.ids());
}

TEST_CASE("temperature 0 is greedy whatever the seed") {
    CHECK(generate({kPrompt, "--temp", "0", "--seed", "1"}).ids() ==
          generate({kPrompt, "--temp", "0", "--seed", "2"}).ids());
    CHECK(generate({kPrompt, "--top-k", "1"}).ids() == generate({kPrompt, "--temp", "0"}).ids());
}

TEST_CASE("penalties change the text") {
    const auto plain = generate({kPrompt, "--temp", "0"}).ids();
    for (const char* flag : {"--repeat-penalty", "--presence-penalty", "--frequency-penalty"}) {
        CAPTURE(flag);
        CHECK(generate({kPrompt, "--temp", "0", flag, "5"}).ids() != plain);
        CHECK(generate({kPrompt, "--temp", "0", flag, "5", "--repeat-last-n", "0"}).ids() == plain);
    }
}

TEST_CASE("every dispatch gives the same tokens") {
    const auto persistent = generate({kPrompt, "--seed", "3"});
    CHECK(persistent.summary.at("dispatch") == "persistent");
    for (const char* dispatch : {"graph", "launch"}) {
        const auto other = generate({kPrompt, "--seed", "3", "--dispatch", dispatch});
        CHECK(other.summary.at("dispatch") == dispatch);
        CHECK(other.ids() == persistent.ids());
    }
}

TEST_CASE("each token has id, text, logprob and time, and the summary says what it took") {
    const auto result = generate({kPrompt});
    std::uint64_t last_time = 0;
    for (const Json& token : result.tokens) {
        CHECK(token.size() == 4);
        CHECK(token.at("text").is_string());
        CHECK(token.at("logprob").get<double>() <= 0);
        CHECK(token.at("time_ns").get<std::uint64_t>() > last_time);
        last_time = token.at("time_ns").get<std::uint64_t>();
    }
    const Json& summary = result.summary;
    CHECK(summary.at("generated_tokens") == 40);
    CHECK(summary.at("prompt_tokens").get<int>() > 4);
    CHECK(summary.at("finish_reason") == "length");
    for (const char* key : {"prompt_ms", "time_to_first_token_ms", "ms_per_token_p50", "ms_per_token_p99",
                            "tokens_per_second", "total_ms"}) {
        CAPTURE(key);
        CHECK(summary.at(key).get<double>() > 0);
    }
    CHECK(summary.at("ms_per_token_p99").get<double>() >= summary.at("ms_per_token_p50").get<double>());
}

TEST_CASE("the text is that of the JSON, followed by a closing line on standard error") {
    const auto json = generate({kPrompt, "--seed", "5"});
    const Result result = run_on_device({"run", tiny_model(), kPrompt, "-n", "40", "--ignore-eos", "--seed", "5"});
    CHECK(result.out == json.text() + "\n");
    REQUIRE(messages_of(result).size() == 1);
    for (const char* part : {"persistent", "prompt tokens in", "first token after", "40 tokens generated",
                             "ms/token p50", "p99", "tokens/s"}) {
        CAPTURE(part);
        CHECK(result.err.find(part) != std::string::npos);
    }
}

TEST_CASE("a stop text ends the generation and is not part of it") {
    const std::string whole = generate({kPrompt, "--temp", "0"}).text();
    REQUIRE(whole.size() > 6);
    const std::string stop = whole.substr(whole.size() / 2, 2);
    const auto stopped = generate({kPrompt, "--temp", "0", "--stop", "never to be found", "--stop", stop});
    CHECK(stopped.text() == whole.substr(0, whole.find(stop)));
    CHECK(stopped.summary.at("finish_reason") == "stop_text");
}

TEST_CASE("-n bounds the tokens, and -1 goes on until the context is full") {
    CHECK(generate({kPrompt, "-n", "3"}).ids().size() == 3);
    CHECK(generate({kPrompt, "-n", "0"}).ids().empty());
    const auto full = generate({kPrompt, "-n", "-1", "-c", "64"});
    CHECK(full.summary.at("finish_reason") == "length");
    // The last token is generated, but need not be fed.
    const int total = full.summary.at("prompt_tokens").get<int>() + static_cast<int>(full.ids().size());
    CHECK(total >= 64);
    CHECK(total <= 65);
}

TEST_CASE("bytes that are no UTF-8 do no harm") {
    CHECK(generate({"-p", "br\xff\xfeken \xe2\x82"}).ids().size() == 40);
}

TEST_CASE("a reader that goes away ends the program quietly") {
    Child child(on_device({"run", tiny_model(), kPrompt, "-n", "-1", "-c", "100000", "--ignore-eos", "--json"}));
    CHECK(child.read(100).size() >= 100);
    child.close_output();
    const Result result = child.wait();
    CHECK(result.exit_code == 0);
    CHECK(result.err.find("warning: a context of 100000") != std::string::npos);
    CHECK(messages_of(result).size() == 1);
}

TEST_CASE("output that can't be written is a failure") {
    Child child(on_device({"run", tiny_model(), kPrompt, "-n", "5"}), "/dev/null", "/dev/full");
    const Result result = child.wait();
    CHECK(result.exit_code == 1);
    CHECK(result.err.find("standard output: No space left") != std::string::npos);
}
