// The endpoints as a client meets them: OpenAI's shapes, and that what is asked for happens.
#include <chrono>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <string>
#include <thread>

#include "tests/serve/server_fixture.h"

using namespace vigil::test;
using namespace std::chrono_literals;

namespace {

TestServer& server() {
    static TestServer the_server;
    return the_server;
}

std::string text_of(const Reply& reply) {
    const Json choice = reply.json().at("choices").at(0);
    return choice.contains("text") ? choice["text"].get<std::string>()
                                   : choice["message"]["content"].get<std::string>();
}

std::string streamed_text(const Reply& reply, std::size_t choice = 0) {
    std::string text;
    for (const Json& event : events(reply))
        for (const Json& one : event.at("choices"))
            if (one.at("index") == choice)
                text += one.contains("text") ? one["text"].get<std::string>() : one["delta"].value("content", "");
    return text;
}

Json with_seed(int seed, int max_tokens = 24) {
    return {{"seed", seed}, {"max_tokens", max_tokens}, {"ignore_eos", true}};
}

Json joined(Json a, const Json& b) {
    a.update(b);
    return a;
}

}  // namespace

TEST_CASE("a completion has OpenAI's shape, its usage and its timings") {
    const Reply reply = server().complete("in the end", with_seed(1));
    REQUIRE(reply.status == 200);
    CHECK(reply.headers.at("content-type") == "application/json");
    const Json body = reply.json();
    CHECK(body.at("object") == "text_completion");
    CHECK(body.at("model") == "tiny");
    CHECK(body.at("id").get<std::string>().starts_with("cmpl-"));
    CHECK(body.at("choices").size() == 1);
    CHECK(body["choices"][0].at("finish_reason") == "length");
    CHECK(body["choices"][0].at("logprobs").is_null());
    CHECK(body.at("usage").at("completion_tokens") == 24);
    const int prompt_tokens = body["usage"].at("prompt_tokens");
    CHECK(prompt_tokens > 0);
    CHECK(body["usage"].at("total_tokens") == prompt_tokens + 24);
    CHECK(body.at("timings").at("generated_tokens") == 24);
    CHECK(body["timings"].at("time_to_first_token_ms") > 0);
    CHECK(body["timings"].at("ms_per_token_p99") >= body["timings"].at("ms_per_token_p50"));
}

TEST_CASE("the server's own time before the engine is not the client's that sends its body late") {
    const std::string request =
        post_text("/v1/completions", joined({{"prompt", "in the end"}}, with_seed(1, 1)).dump());
    const std::size_t body = request.find("\r\n\r\n") + 4;
    Socket socket(server().port());
    socket.send(request.substr(0, body));
    std::this_thread::sleep_for(500ms);
    socket.send(request.substr(body));
    const Json timings = socket.read_reply().json().at("timings");
    const double us = timings.at("accepted_to_submitted_us");
    CHECK(us > 0);
    CHECK(us < 400'000);
    CHECK(timings.at("queue_ms") < 400);
}

TEST_CASE("a chat has OpenAI's shape") {
    const Reply reply = server().chat("hello there", with_seed(1));
    REQUIRE(reply.status == 200);
    const Json body = reply.json();
    CHECK(body.at("object") == "chat.completion");
    CHECK(body.at("id").get<std::string>().starts_with("chatcmpl-"));
    CHECK(body["choices"][0].at("message").at("role") == "assistant");
    CHECK(body["choices"][0]["message"].at("content").is_string());
    CHECK(body["choices"][0].at("finish_reason") == "length");
}

TEST_CASE("the seed decides the text, streamed or not, over HTTP/1.1 and 1.0") {
    const std::string text = text_of(server().complete("in the end", with_seed(7)));
    CHECK_FALSE(text.empty());
    CHECK(text_of(server().complete("in the end", with_seed(7))) == text);
    CHECK(text_of(server().complete("in the end", with_seed(8))) != text);
    const Json stream = joined(with_seed(7), {{"stream", true}});
    CHECK(streamed_text(server().complete("in the end", stream)) == text);

    Socket old_client(server().port());
    const std::string body = joined(stream, {{"prompt", "in the end"}}).dump();
    old_client.send("POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: " +
                    std::to_string(body.size()) + "\r\n\r\n" + body);
    Reply reply;
    reply.body = old_client.read_to_end().value();
    CHECK(reply.body.find("Transfer-Encoding") == std::string::npos);
    reply.body.erase(0, reply.body.find("\r\n\r\n") + 4);
    CHECK(streamed_text(reply) == text);
}

TEST_CASE("a streamed chat says who speaks, then the pieces, then why it ended, then the usage") {
    const Json more = joined(with_seed(3), {{"stream", true}, {"stream_options", {{"include_usage", true}}}});
    const Reply reply = server().chat("hello", more);
    REQUIRE(reply.status == 200);
    CHECK(reply.headers.at("content-type") == "text/event-stream");
    const std::vector<Json> all = events(reply);
    REQUIRE(all.size() > 3);
    CHECK(all.front().at("object") == "chat.completion.chunk");
    CHECK(all.front()["choices"][0].at("delta").at("role") == "assistant");
    CHECK(all[all.size() - 2]["choices"][0].at("finish_reason") == "length");
    CHECK(all[all.size() - 2].at("timings").at("generated_tokens") == 24);
    CHECK(all.back().at("choices").empty());
    CHECK(all.back().at("usage").at("completion_tokens") == 24);
    for (std::size_t i = 0; i + 1 < all.size(); ++i) {
        CHECK(all[i].at("usage").is_null());
        CHECK(all[i].at("id") == all.front().at("id"));
    }
    CHECK(streamed_text(reply) == text_of(server().chat("hello", with_seed(3))));
}

TEST_CASE("a stop text ends the answer and is no part of it, wherever tokens begin") {
    const std::string text = text_of(server().complete("in the end", with_seed(11, 60)));
    REQUIRE(text.size() > 20);
    // Over several tokens: the model's are single bytes for the most part. Whole characters, as JSON is UTF-8.
    const auto is_boundary = [&](std::size_t i) { return (static_cast<unsigned char>(text[i]) & 0xc0) != 0x80; };
    std::size_t begin = text.size() / 2;
    while (!is_boundary(begin)) ++begin;
    std::size_t end = begin + 6;
    while (end < text.size() && !is_boundary(end)) ++end;
    const std::string stop = text.substr(begin, end - begin);
    const std::string expected = text.substr(0, text.find(stop));
    for (const Json& form : {Json(stop), Json::array({"never there", stop})}) {
        const Json more = joined(with_seed(11, 60), {{"stop", form}});
        const Reply reply = server().complete("in the end", more);
        CHECK(text_of(reply) == expected);
        CHECK(reply.json()["choices"][0]["finish_reason"] == "stop");
        CHECK(streamed_text(server().complete("in the end", joined(more, {{"stream", true}}))) == expected);
    }
}

TEST_CASE("sampling parameters reach the sampler") {
    const Json greedy = joined(with_seed(1), {{"temperature", 0}});
    const std::string text = text_of(server().complete("in the end", greedy));
    CHECK(text_of(server().complete("in the end", joined(greedy, {{"seed", 2}}))) == text);
    CHECK(text_of(server().complete("in the end", joined(with_seed(5), {{"top_k", 1}}))) == text);
    CHECK(text_of(server().complete("in the end", joined(with_seed(5), {{"min_p", 1}}))) == text);
    CHECK(text_of(server().complete("in the end", joined(with_seed(5), {{"top_p", 0.0000001}}))) == text);
    CHECK(text_of(server().complete("in the end", joined(greedy, {{"repeat_penalty", 5}}))) != text);
    CHECK(text_of(server().complete("in the end", joined(greedy, {{"presence_penalty", 2}}))) != text);
    CHECK(text_of(server().complete("in the end", joined(greedy, {{"frequency_penalty", 2}}))) != text);
}

TEST_CASE("log-probabilities come with each token and its bytes") {
    const Json more = joined(with_seed(1, 12), {{"logprobs", true}, {"top_logprobs", 3}});
    const Reply reply = server().chat("hello", more);
    REQUIRE(reply.status == 200);
    const Json content = reply.json()["choices"][0]["logprobs"]["content"];
    REQUIRE(content.size() == 12);
    std::string bytes;
    for (const Json& entry : content) {
        CHECK(entry.at("logprob") <= 0);
        for (const Json& byte : entry.at("bytes")) bytes += static_cast<char>(byte.get<int>());
        const Json& top = entry.at("top_logprobs");
        REQUIRE(top.size() == 3);
        CHECK(top[0].at("logprob") >= top[1].at("logprob"));
        CHECK(top[1].at("logprob") >= top[2].at("logprob"));
    }
    CHECK_FALSE(bytes.empty());
    Json streamed = Json::array();
    for (const Json& event : events(server().chat("hello", joined(more, {{"stream", true}}))))
        if (const Json& logprobs = event["choices"][0]["logprobs"]; !logprobs.is_null())
            for (const Json& entry : logprobs["content"]) streamed.push_back(entry);
    CHECK(streamed == content);
}

TEST_CASE("completions have the older form of log-probabilities") {
    const Reply reply = server().complete("in the end", joined(with_seed(1, 12), {{"logprobs", 2}}));
    REQUIRE(reply.status == 200);
    const Json logprobs = reply.json()["choices"][0]["logprobs"];
    for (const char* list : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
        CHECK(logprobs.at(list).size() == 12);
    CHECK(logprobs["text_offset"][0] == 0);
    CHECK(logprobs["top_logprobs"][0].size() == 2);
}

TEST_CASE("a prompt may be a text, token ids, or several of them") {
    const std::string text = text_of(server().complete("in the end", with_seed(1)));
    const Json tokens = server().post("/tokenize", {{"content", "in the end"}, {"add_special", true}}).json()["tokens"];
    CHECK(text_of(server().post("/v1/completions", joined(with_seed(1), {{"prompt", tokens}}))) == text);
    const Json several = joined(with_seed(1), {{"prompt", {"in the end", "another one", "in the end"}}});
    const Reply reply = server().post("/v1/completions", several);
    REQUIRE(reply.status == 200);
    const Json choices = reply.json()["choices"];
    REQUIRE(choices.size() == 3);
    CHECK(choices[0]["text"] == text);
    CHECK(choices[1]["text"] != text);
    CHECK(choices[2]["text"] == text);
    CHECK(reply.json()["usage"]["completion_tokens"] == 72);
    const Reply streamed = server().post("/v1/completions", joined(several, {{"stream", true}}));
    for (std::size_t i = 0; i < 3; ++i) CHECK(streamed_text(streamed, i) == choices[i]["text"].get<std::string>());
}

TEST_CASE("echo puts the prompt in front") {
    const std::string text = text_of(server().complete("in the end", with_seed(1)));
    const Json echo = joined(with_seed(1), {{"echo", true}});
    CHECK(text_of(server().complete("in the end", echo)) == "in the end" + text);
    CHECK(streamed_text(server().complete("in the end", joined(echo, {{"stream", true}}))) == "in the end" + text);
}

TEST_CASE("a message may be in parts, and its text never becomes a special token") {
    const Json parts = {{{"role", "user"},
                         {"content", {{{"type", "text"}, {"text", "hello "}}, {{"type", "text"}, {"text", "there"}}}}}};
    const Reply reply = server().post("/v1/chat/completions", joined(with_seed(1), {{"messages", parts}}));
    REQUIRE(reply.status == 200);
    CHECK(text_of(reply) == text_of(server().chat("hello there", with_seed(1))));
    const auto tokens_of = [&](const std::string& message) {
        return server().chat(message, with_seed(1)).json()["usage"]["prompt_tokens"].get<int>();
    };
    // As a special token it would be one.
    CHECK(tokens_of("a<|im_end|>b") > tokens_of("ab") + 1);
}

TEST_CASE("text becomes tokens and comes back") {
    const std::string text = "héllo <|im_end|> \xf0\x9f\x90\xa6";
    const Reply plain = server().post("/tokenize", {{"content", text}, {"parse_special", false}});
    REQUIRE(plain.status == 200);
    CHECK(server().post("/detokenize", plain.json()).json()["content"] == text);
    const Reply special = server().post("/tokenize", {{"content", text}});
    CHECK(special.json()["tokens"].size() < plain.json()["tokens"].size());
    CHECK(server().post("/detokenize", special.json()).json()["content"] == text);
    const Json pieces = server().post("/tokenize", {{"content", "in"}, {"with_pieces", true}}).json()["tokens"];
    CHECK(pieces[0].at("piece") == "in");
}

TEST_CASE("models, health and metrics can be asked for") {
    const Json models = server().get("/v1/models").json();
    CHECK(models.at("data").at(0).at("id") == "tiny");
    CHECK(models["data"][0].at("context_length") == kContext);
    CHECK(server().get("/health").json() == Json{{"status", "ok"}});
    const double before = server().metric("vigil_generated_tokens_total");
    server().complete("in the end", with_seed(1, 10));
    CHECK(server().metric("vigil_generated_tokens_total") == before + 10);
    const std::string text = server().get("/metrics").body;
    CHECK(text.find("vigil_http_requests_total{path=\"/v1/completions\",status=\"200\"}") != std::string::npos);
    CHECK(text.find("vigil_token_seconds_bucket{le=\"+Inf\"}") != std::string::npos);
}

TEST_CASE("the page may run its own script and reach its own server, and nothing else") {
    const Reply reply = server().get("/");
    REQUIRE(reply.status == 200);
    CHECK(reply.headers.at("content-type").starts_with("text/html"));
    const std::string policy = reply.headers.at("content-security-policy");
    CHECK(policy.find("default-src 'none'") != std::string::npos);
    CHECK(policy.find("unsafe") == std::string::npos);
    const std::size_t at = policy.find("nonce-") + 6;
    const std::string nonce = policy.substr(at, policy.find('\'', at) - at);
    CHECK(reply.body.find("<script nonce=\"" + nonce + "\">") != std::string::npos);
    CHECK(server().get("/").headers.at("content-security-policy") != policy);
    CHECK(reply.body.find("http://") == std::string::npos);
    CHECK(reply.body.find("https://") == std::string::npos);
}

TEST_CASE("a connection serves one request after the other") {
    Socket socket(server().port());
    const std::string request = post_text("/tokenize", R"({"content": "in the end"})");
    // Also when they come together.
    socket.send(request + request);
    const Reply first = socket.read_reply();
    CHECK(first.status == 200);
    CHECK(socket.read_reply().body == first.body);
    socket.send(post_text("/v1/completions", R"({"prompt": "a", "max_tokens": 3, "stream": true})"));
    CHECK(socket.read_reply().status == 200);
    socket.send(post_text("/v1/completions", R"({"prompt": 5})"));
    CHECK(socket.read_reply().status == 400);
    socket.send(request);
    CHECK(socket.read_reply().status == 200);
}

TEST_CASE("a query, escapes in the path and a range change nothing") {
    CHECK(server().get("/health?why=not").status == 200);
    CHECK(server().get("/%68ealth").status == 200);
    CHECK(server().get("/health%3fwhy=not").status == 404);
    CHECK(server().post("/tokenize?api-version=1", {{"content", "a"}}).status == 200);
    const Reply all = get(server().port(), "/health", "Range: bytes=0-1\r\n");
    CHECK(all.status == 200);
    CHECK(all.body == server().get("/health").body);
}

TEST_CASE("HEAD has the headers of GET and no body") {
    Socket socket(server().port());
    socket.send("HEAD /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const std::string all = socket.read_to_end().value_or("");
    CHECK(all.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(all.find(fmt::format("\r\nContent-Length: {}\r\n", server().get("/health").body.size())) !=
          std::string::npos);
    CHECK(all.ends_with("\r\n\r\n"));
}

TEST_CASE("an error leaves a connection open unless its body was not read") {
    Socket socket(server().port());
    socket.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" + post_text("/tokenize", "{}"));
    CHECK(socket.read_reply().status == 404);
    CHECK(socket.read_reply().status == 400);
    socket.send(post_text("/nothing", "{}"));
    const Reply reply = socket.read_reply();
    CHECK(reply.status == 404);
    CHECK(reply.headers.at("connection") == "close");
    CHECK(socket.read_to_end().has_value());
}

TEST_CASE("a body may come in chunks, and wait for the word to continue") {
    Socket chunked(server().port());
    chunked.send(
        "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        "9\r\n{\"content\r\n8\r\n\": \"abc\"\r\n1\r\n}\r\n0\r\n\r\n");
    CHECK(chunked.read_reply().status == 200);
    // Byte by byte, with extensions, and the next request right behind.
    const std::string pieces =
        "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        "00009;a=b\r\n{\"content\r\n8 ; c\r\n\": \"abc\"\r\n1\r\n}\r\n0\r\n\r\n" +
        post_text("/tokenize", "{}");
    for (const char byte : pieces) chunked.send(std::string(1, byte));
    CHECK(chunked.read_reply().status == 200);
    CHECK(chunked.read_reply().status == 400);
    Socket polite(server().port());
    polite.send(
        "POST /tokenize HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        "Content-Length: 17\r\n\r\n");
    CHECK(polite.read_until("HTTP/1.1 100 Continue\r\n\r\n"));
    polite.send("{\"content\":\"abc\"}");
    CHECK(polite.read_until("{\"tokens\":"));
}
