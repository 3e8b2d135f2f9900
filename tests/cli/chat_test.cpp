// vigil chat through pipes: messages, commands, files, limits, and the same text as vigil run.
#include <chrono>
#include <csignal>
#include <doctest/doctest.h>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/cli/output.h"

using namespace vigil::test;

namespace {

// Plain text around the messages: the tiny model has no special tokens for them.
std::string chat_template() {
    static const std::string path = write_file("template.jinja",
                                               "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                                               "{% if add_generation_prompt %}assistant:{% endif %}");
    return path;
}

std::vector<std::string> chat_arguments(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"chat", tiny_model(), "--chat-template", chat_template()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

Result chat(const std::string& input, const std::vector<std::string>& more = {"-n", "12", "--seed", "7"}) {
    return run_on_device(chat_arguments(more), write_file("input.txt", input));
}

// What the closing line of each answer says of its prompt.
struct Figures {
    int prompt_tokens, new_tokens, generated;
};

std::vector<Figures> figures_of(const Result& result) {
    static const std::regex pattern(
        R"(^\[(\d+) prompt tokens, (\d+) of them new; first token after [\d.]+ ms; (\d+) tokens)"
        R"((, [\d.]+ tokens/s, [\d.]+ ms/token p50, [\d.]+ p99)?(; stopped)?\]$)");
    std::vector<Figures> all;
    for (const std::string& line : messages_of(result)) {
        std::smatch found;
        if (std::regex_match(line, found, pattern))
            all.push_back({std::stoi(found[1]), std::stoi(found[2]), std::stoi(found[3])});
    }
    return all;
}

bool says(const Result& result, const std::string& text) {
    return result.err.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("each line is a message, answered on standard output with nothing around it") {
    skip_without_device();
    const Result result = chat("good morning\nand what then\n");
    const auto figures = figures_of(result);
    REQUIRE(figures.size() == 2);
    CHECK(messages_of(result).size() == 2);
    CHECK(result.out.find("> ") == std::string::npos);
    CHECK(result.out.find('\x1b') == std::string::npos);
    CHECK(result.err.find('\x1b') == std::string::npos);
    CHECK(chat("good morning\nand what then").out == result.out);  // a last line need not end
}

TEST_CASE("the first answer is what run gives for the same tokens and seed") {
    std::size_t compared = 0;
    for (const char* seed : {"1", "6", "12345"}) {
        const Result answer = chat("tell me a story", {"-n", "40", "--seed", seed, "--temp", "1.2"});
        const Result text = run_on_device({"run", tiny_model(), "-p", "user: tell me a story\nassistant:", "-n", "40",
                                           "--seed", seed, "--temp", "1.2"});
        CHECK(answer.out == text.out);
        compared += answer.out.size();
    }
    CHECK(compared > 60);
}

TEST_CASE("a later message feeds only what is new") {
    const auto figures = figures_of(chat("a first message that is not so short\nmore\n"));
    REQUIRE(figures.size() == 2);
    CHECK(figures[0].new_tokens == figures[0].prompt_tokens);
    CHECK(figures[1].prompt_tokens > figures[0].prompt_tokens);
    // At least the first prompt is there; of its answer what tokenizes as it was generated.
    CHECK(figures[1].prompt_tokens - figures[1].new_tokens >= figures[0].prompt_tokens);
}

TEST_CASE("a message may have several lines") {
    const std::string with_backslash = chat("first\\\nsecond\n").out;
    CHECK(with_backslash == chat("\"\"\"first\nsecond\"\"\"\n").out);
    CHECK(with_backslash == chat("\"\"\"\nfirst\nsecond\n\"\"\"\n").out);
    CHECK(with_backslash == chat("\"\"\"first\nsecond").out);  // the input ends before the block
    CHECK(with_backslash != chat("first second\n").out);
    CHECK(figures_of(chat("\"\"\"\n/help\n\n/exit\"\"\"\n")).size() == 1);
}

TEST_CASE("blank lines are no messages, and no input is no failure") {
    for (const char* input : {"", "\n\n  \n", "\"\"\"\n\n\"\"\"\n"}) {
        const Result result = chat(input);
        CHECK(result.out == "");
        CHECK(messages_of(result).empty());
    }
}

TEST_CASE("regen answers the last message anew, with another seed each time") {
    const Result result = chat("say something\n/regen\n/regen\n", {"-n", "12", "--seed", "7", "--temp", "1.5"});
    const auto lines = lines_of(result.out);
    const auto figures = figures_of(result);
    REQUIRE(figures.size() == 3);
    CHECK(figures[2].prompt_tokens == figures[0].prompt_tokens);
    CHECK(figures[2].new_tokens == 1);
    const auto next_seed = chat("say something\n", {"-n", "12", "--seed", "8", "--temp", "1.5"});
    const auto the_same = chat("say something\n", {"-n", "12", "--seed", "7", "--temp", "1.5"});
    CHECK(result.out.starts_with(the_same.out + next_seed.out));
    CHECK(the_same.out != next_seed.out);
    CHECK(says(chat("/regen\n"), "there is no answer yet"));
}

TEST_CASE("reset forgets the conversation but not the system message, which system changes") {
    const auto figures =
        figures_of(chat("hello there\n/reset\nhello there\n/system be brief and clear\n/reset\nhello "
                        "there\n/system\n/reset\nhello there\n"));
    REQUIRE(figures.size() == 4);
    CHECK(figures[1].prompt_tokens == figures[0].prompt_tokens);
    CHECK(figures[2].prompt_tokens > figures[0].prompt_tokens);
    CHECK(figures[3].prompt_tokens == figures[0].prompt_tokens);
    const auto from_flag =
        figures_of(chat("hello there\n/reset\nhello there\n", {"-n", "4", "--system", "be brief and clear"}));
    REQUIRE(from_flag.size() == 2);
    CHECK(from_flag[0].prompt_tokens == figures[2].prompt_tokens);
    CHECK(from_flag[1].prompt_tokens == figures[2].prompt_tokens);
}

TEST_CASE("a saved conversation is JSON, and goes on as if it had never ended") {
    const std::string file = new_path("saved.json");
    const Result first =
        chat("/system be kind\none \"quoted\"\\\nline\n/save " + file + "\n/save " + file + "x y\nand more\n");
    const Json saved = Json::parse(read_file(file));
    const Json& messages = saved.at("messages");
    REQUIRE(messages.size() == 3);
    CHECK(messages[0] == Json{{"role", "system"}, {"content", "be kind"}});
    CHECK(messages[1] == Json{{"role", "user"}, {"content", "one \"quoted\"\nline"}});
    CHECK(messages[2].at("role") == "assistant");
    CHECK(first.out.starts_with(messages[2].at("content").get<std::string>() + "\n"));
    CHECK(saved.at("seed") == 7);
    CHECK(read_file(file + "x y") == read_file(file));  // a name may hold blanks
    CHECK(says(first, "3 messages written to " + file));

    const Result second = chat("/load " + file + "\nand more\n");
    CHECK(says(second, "3 messages read from " + file));
    REQUIRE(figures_of(second).size() == 1);
    CHECK(figures_of(second)[0].prompt_tokens == figures_of(first)[1].prompt_tokens);
}

TEST_CASE("files that can't be saved or loaded are named, and the conversation goes on") {
    const std::string folder = new_path("missing");
    const auto load = [](const std::string& content) {
        return chat("/load " + write_file("conversation.json", content).string() + "\nhello\n");
    };
    const std::vector<std::pair<Result, std::string>> cases = {
        {chat("/save\nhello\n"), "/save needs the name of a file"},
        {chat("/load \nhello\n"), "/load needs the name of a file"},
        {chat("/save " + folder + "/file\nhello\n"), folder + "/file: can't be written: No such file"},
        {chat("/load " + folder + "\nhello\n"), folder + ": can't be read: No such file"},
        {load("no json"), "conversation.json: is no JSON"},
        {load("[1, 2]"), "has no list 'messages'"},
        {load(R"({"messages": 3})"), "has no list 'messages'"},
        {load(R"({"messages": [3]})"), "messages[0] has no text 'role'"},
        {load(R"({"messages": [{"role": "user"}]})"), "messages[0] has no text 'content'"},
        {load(R"({"messages": [{"role": "assistant", "content": "x"}]})"), "of role 'assistant', expected 'user'"},
        {load(R"({"messages": [{"role": "user", "content": "x"}]})"), "messages[0] has no answer"},
    };
    for (const auto& [result, message] : cases) {
        CAPTURE(message);
        CHECK(says(result, message));
        CHECK(figures_of(result).size() == 1);
    }
}

TEST_CASE("help, stats and exit; what is no command says so") {
    const Result result = chat("/help\n/stats\nhello\n/stats\n/reboot now\n//slash\n/exit\nnever read\n");
    for (const char* word :
         {"/system TEXT", "/reset", "/regen", "/save FILE", "/load FILE", "/stats", "/exit", "Ctrl-C"})
        CHECK(says(result, word));
    CHECK(says(result, chat_template()));
    CHECK(says(result, "tokens of context used"));
    CHECK(says(result, "fed inside the kernel"));
    CHECK(says(result, "there is no command /reboot"));
    CHECK(figures_of(result).size() >= 2);  // of hello and /slash; stats repeats one in its own words
    CHECK(lines_of(result.out).size() >= 2);
    CHECK(figures_of(chat("/quit\nhello\n")).empty());
}

TEST_CASE("a full context is told with what to do, before an answer and at its end") {
    std::string words;
    for (int i = 0; i < 60; ++i) words += "word" + std::to_string(i) + " ";
    const Result too_long = chat(words + "\nhi\n", {"-c", "48", "-n", "4"});
    CHECK(says(too_long, "the conversation has"));
    CHECK(says(too_long, "/reset"));
    CHECK(says(too_long, "--ctx-size"));
    CHECK(figures_of(too_long).size() == 1);  // the long message is taken back, so the next fits

    const Result filled = chat("hi\n", {"-c", "48", "--temp", "0"});
    CHECK(says(filled, "The context of 48 tokens is full"));
    REQUIRE(figures_of(filled).size() == 1);
    CHECK(figures_of(filled)[0].prompt_tokens + figures_of(filled)[0].generated == 49);
}

TEST_CASE("a stop text ends an answer and is not part of it") {
    const std::string all = chat("tell me\n", {"-n", "40", "--temp", "0"}).out;
    const std::string stop = all.substr(10, 4);
    const std::string cut = chat("tell me\n", {"-n", "40", "--temp", "0", "--stop", stop}).out;
    CHECK(cut == all.substr(0, all.find(stop)) + "\n");
}

TEST_CASE("Ctrl-C stops the answer and not the program, and ends it where a message is awaited") {
    const std::string input = write_file("input.txt", "on and on\n/stats\n");
    Child talking(on_device(chat_arguments({"-c", "100000", "--temp", "0"})), input);
    talking.read(30);
    talking.send(SIGINT);
    const Result stopped = talking.wait();
    CHECK(stopped.exit_code == 0);
    CHECK(says(stopped, "; stopped]"));
    CHECK(says(stopped, "2 messages; "));
    CHECK(stopped.out.ends_with('\n'));

    Child waiting(on_device(chat_arguments({"-n", "4", "--temp", "0"})), "-");
    waiting.write("hi\n");
    while (waiting.read(1).find('\n') == std::string::npos) continue;  // until it has answered
    waiting.send(SIGINT);
    CHECK(waiting.wait().exit_code == 130);
}

TEST_CASE("a reader that goes away ends the program without a failure") {
    const std::string input = write_file("input.txt", "on and on\nagain\n");
    Child child(on_device(chat_arguments({"-c", "100000", "--temp", "0"})), input);
    child.read(30);
    child.close_output();
    CHECK(child.wait().exit_code == 0);
}

TEST_CASE("a chat template that is not there or can't be read is named, with the way out") {
    const Result none = run({"chat", tiny_model(), "--device", "cpu"});
    CHECK(none.exit_code == 1);
    CHECK(says(none, "--chat-template"));
    const Result unknown = run({"chat", tiny_model(), "--device", "cpu", "--chat-template", "nonesuch"});
    CHECK(unknown.exit_code == 1);
    CHECK(says(unknown, "nonesuch"));
    const std::string broken = write_file("broken.jinja", "{% for m in messages %}");
    const Result unfinished = run({"chat", tiny_model(), "--device", "cpu", "--chat-template", broken});
    CHECK(unfinished.exit_code == 1);
    CHECK(says(unfinished, broken));
    const std::string strict = write_file("strict.jinja", "{{ raise_exception('not today') }}");
    const Result refused = run_on_device({"chat", tiny_model(), "--chat-template", strict}, write_file("in", "hi\n"));
    CHECK(says(refused, "not today"));
}
