// Every field that is wrong is refused with a 400 that names it; what OpenAI knows and vigil does not is refused or
// ignored as documented.
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "tests/serve/server_fixture.h"

using namespace vigil::test;

namespace {

// One of the requests generates until the context is full.
constexpr int kSmallContext = 256;

TestServer& server() {
    static TestServer the_server([](auto&) {}, kSmallContext);
    return the_server;
}

Json parsed(const std::string& text) {
    return Json::parse(text);
}

struct Case {
    const char* json;   // members of the request, besides the prompt or the messages
    const char* param;  // error.param
};

void check_refused(const Reply& reply, const Case& c) {
    CAPTURE(c.json);
    CAPTURE(reply.body);
    CHECK(reply.status == 400);
    CHECK_FALSE(reply.error_message().empty());
    CHECK(reply.json()["error"]["type"] == "invalid_request_error");
    CHECK(reply.json()["error"]["param"] == c.param);
}

}  // namespace

TEST_CASE("wrong values of common fields are refused by name") {
    const std::vector<Case> cases = {
        {R"({"temperature": -0.1})", "temperature"},
        {R"({"temperature": 2.1})", "temperature"},
        {R"({"temperature": "hot"})", "temperature"},
        {R"({"temperature": true})", "temperature"},
        {R"({"temperature": 1e308})", "temperature"},
        {R"({"temperature": []})", "temperature"},
        {R"({"top_p": 1.5})", "top_p"},
        {R"({"top_p": -1})", "top_p"},
        {R"({"min_p": 2})", "min_p"},
        {R"({"top_k": -1})", "top_k"},
        {R"({"top_k": 1.5})", "top_k"},
        {R"({"top_k": 2147483648})", "top_k"},
        {R"({"top_k": 18446744073709551615})", "top_k"},
        {R"({"repeat_penalty": 0})", "repeat_penalty"},
        {R"({"repeat_penalty": 1e9})", "repeat_penalty"},
        {R"({"repeat_last_n": -2})", "repeat_last_n"},
        {R"({"presence_penalty": 3})", "presence_penalty"},
        {R"({"frequency_penalty": -3})", "frequency_penalty"},
        {R"({"max_tokens": -1})", "max_tokens"},
        {R"({"max_tokens": 9223372036854775807})", "max_tokens"},
        {R"({"max_tokens": 1e3})", "max_tokens"},
        {R"({"max_tokens": "10"})", "max_tokens"},
        {R"({"seed": -2})", "seed"},
        {R"({"seed": 1.5})", "seed"},
        {R"({"seed": "1"})", "seed"},
        {R"({"n": 2})", "n"},
        {R"({"n": 0})", "n"},
        {R"({"n": 1000000})", "n"},
        {R"({"stop": 5})", "stop"},
        {R"({"stop": ""})", "stop"},
        {R"({"stop": ["a", "b", "c", "d", "e"]})", "stop"},
        {R"({"stop": ["a", null]})", "stop"},
        {R"({"stop": [["a"]]})", "stop"},
        {R"({"stream": 1})", "stream"},
        {R"({"stream_options": {"include_usage": true}})", "stream_options"},
        {R"({"stream": true, "stream_options": 1})", "stream_options"},
        {R"({"stream": true, "stream_options": {"include_usage": 1}})", "stream_options.include_usage"},
        {R"({"stream": true, "stream_options": {"other": 1}})", "stream_options"},
        {R"({"ignore_eos": "yes"})", "ignore_eos"},
        {R"({"model": 5})", "model"},
        {R"({"logit_bias": {"5": 1}})", "logit_bias"},
        {R"({"logit_bias": 5})", "logit_bias"},
        {R"({"tools": [{}]})", "tools"},
        {R"({"tool_choice": "required"})", "tool_choice"},
        {R"({"response_format": {"type": "json_object"}})", "response_format"},
        {R"({"modalities": ["audio"]})", "modalities"},
        {R"({"functions": [{}]})", "functions"},
        {R"({"audio": {}})", "audio"},
        {R"({"temprature": 1})", "temprature"},
    };
    for (const Case& c : cases) {
        check_refused(server().complete("a", parsed(c.json)), c);
        check_refused(server().chat("a", parsed(c.json)), c);
    }
}

TEST_CASE("wrong values of a completion's fields are refused by name") {
    const std::vector<Case> cases = {
        {R"({})", "prompt"},
        {R"({"prompt": null})", "prompt"},
        {R"({"prompt": 5})", "prompt"},
        {R"({"prompt": {}})", "prompt"},
        {R"({"prompt": ""})", "prompt"},
        {R"({"prompt": []})", "prompt"},
        {R"({"prompt": [[]]})", "prompt"},
        {R"({"prompt": [1.5]})", "prompt"},
        {R"({"prompt": [-1]})", "prompt"},
        {R"({"prompt": [512]})", "prompt"},
        {R"({"prompt": [99999999999]})", "prompt"},
        {R"({"prompt": [1, "a"]})", "prompt"},
        {R"({"prompt": ["a", 1]})", "prompt"},
        {R"({"prompt": "a", "logprobs": 21})", "logprobs"},
        {R"({"prompt": "a", "logprobs": true})", "logprobs"},
        {R"({"prompt": "a", "best_of": 2})", "best_of"},
        {R"({"prompt": "a", "suffix": "b"})", "suffix"},
        {R"({"prompt": "a", "echo": 1})", "echo"},
        {R"({"prompt": "a", "echo": true, "logprobs": 1})", "echo"},
        {R"({"prompt": "a", "messages": []})", "messages"},
    };
    for (const Case& c : cases) check_refused(server().post("/v1/completions", parsed(c.json)), c);
}

TEST_CASE("wrong messages are refused by their place") {
    const std::vector<Case> cases = {
        {R"({})", "messages"},
        {R"({"messages": []})", "messages"},
        {R"({"messages": "hello"})", "messages"},
        {R"({"messages": [5]})", "messages[0]"},
        {R"({"messages": [{"content": "a"}]})", "messages[0].role"},
        {R"({"messages": [{"role": "robot", "content": "a"}]})", "messages[0].role"},
        {R"({"messages": [{"role": "user", "content": "a"}, {"role": "user"}]})", "messages[1].content"},
        {R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content"},
        {R"({"messages": [{"role": "user", "content": [5]}]})", "messages[0].content[0]"},
        {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "messages[0].content[0].type"},
        {R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})", "messages[0].content[0].text"},
        {R"({"messages": [{"role": "user", "content": "a", "tool_calls": [{}]}]})", "messages[0].tool_calls"},
        {R"({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2})", "top_logprobs"},
        {R"({"messages": [{"role": "user", "content": "a"}], "logprobs": true, "top_logprobs": 21})", "top_logprobs"},
        {R"({"messages": [{"role": "user", "content": "a"}], "logprobs": 5})", "logprobs"},
        {R"({"messages": [{"role": "user", "content": "a"}], "max_completion_tokens": 0})", "max_completion_tokens"},
        {R"({"messages": [{"role": "user", "content": "a"}], "prompt": "a"})", "prompt"},
    };
    for (const Case& c : cases) check_refused(server().post("/v1/chat/completions", parsed(c.json)), c);
}

TEST_CASE("fields that ask for nothing are taken, null counts as absent") {
    const Json nothing = parsed(R"({
        "max_tokens": 2, "model": "anything", "user": "me", "n": 1, "logit_bias": {}, "tools": [], "tool_choice": "auto",
        "response_format": {"type": "text"}, "modalities": ["text"], "metadata": {"a": "b"}, "store": false,
        "service_tier": "auto", "temperature": null, "stop": null, "seed": null, "stream": null, "stream_options": null,
        "parallel_tool_calls": true, "functions": null, "audio": null})");
    CHECK(server().complete("a", nothing).status == 200);
    CHECK(server().chat("a", nothing).status == 200);
}

TEST_CASE("values at their limits are taken") {
    for (const char* text : {R"({"seed": 18446744073709551615})", R"({"seed": 0})", R"({"seed": -1})",
                             R"({"temperature": 2})", R"({"temperature": 0})", R"({"top_k": 2147483647})",
                             R"({"max_tokens": 2147483647, "stop": [" ", "e", "t", "a"], "seed": 1})",
                             R"({"stop": ["a", "b", "c", "d"]})"}) {
        CAPTURE(text);
        CHECK(server().complete("a", parsed(text)).status == 200);
    }
    CHECK(server().complete("a", parsed(R"({"max_tokens": 0})")).status == 200);
}

TEST_CASE("a prompt that the context does not hold has a code of its own") {
    const std::string words(20 * kSmallContext, 'z');
    for (const Reply& reply : {server().complete(words), server().chat(words)}) {
        CHECK(reply.status == 400);
        CHECK(reply.error_code() == "context_length_exceeded");
    }
}

TEST_CASE("token ids outside the vocabulary are refused by detokenize") {
    for (const char* text :
         {R"({"tokens": [512]})", R"({"tokens": [-1]})", R"({"tokens": "1"})", R"({"tokens": [null]})", "{}"})
        CHECK(server().post("/detokenize", parsed(text)).status == 400);
}
