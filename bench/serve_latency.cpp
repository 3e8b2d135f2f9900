// What the server costs beside the engine: the same requests straight to the engine and through HTTP on the loopback.
// Prints one JSON object: the server's own parts of a request, tokens per second both ways, and the time to the first
// token of a turn that continues a long conversation.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <httplib.h>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/engine.h"
#include "runtime/serve/server.h"

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using vigil::Token;

constexpr int kShortPrompt = 8;

struct Options {
    std::string model;
    vigil::EngineOptions engine;
    int rounds = 20;
    int tokens = 256;
    int conversation = 1000;
    int turn = 20;
    int sweep_mb = 0;
};

// One generation as its reader saw it.
struct Seen {
    double first_ms = 0;           // from the request to the first token
    double tokens_per_second = 0;  // of the tokens after the first
    Json timings;                  // the server's own, if it came from there
};

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Counts tokens as they come.
class Watch {
   public:
    void token() {
        if (n_++ == 0) first_ms_ = ms_since(start_);
        last_ms_ = ms_since(start_);
    }
    Seen seen() const {
        const double ms = last_ms_ - first_ms_;
        return {.first_ms = first_ms_, .tokens_per_second = ms > 0 ? 1000 * (n_ - 1) / ms : 0, .timings = {}};
    }

   private:
    const Clock::time_point start_ = Clock::now();
    double first_ms_ = 0, last_ms_ = 0;
    int n_ = 0;
};

Seen straight(vigil::Engine& engine, const std::vector<Token>& prompt, int tokens) {
    vigil::Request request;
    request.prompt = prompt;
    request.max_new_tokens = tokens;
    request.ignore_eos = true;
    Watch watch;
    auto generation = engine.submit(std::move(request));
    while (generation.next()) watch.token();
    return watch.seen();
}

Seen through_http(int port, const std::vector<Token>& prompt, int tokens) {
    static httplib::Client client("127.0.0.1", port);
    client.set_keep_alive(true);
    client.set_tcp_nodelay(true);
    client.set_read_timeout(600);
    const Json body = {{"prompt", prompt}, {"max_tokens", tokens},     {"ignore_eos", true}, {"stream", true},
                       {"seed", 0},        {"timings_per_token", true}};
    httplib::Request request;
    request.method = "POST";
    request.path = "/v1/completions";
    request.body = body.dump();
    request.set_header("Content-Type", "application/json");
    std::string text;
    Json timings;
    Watch watch;
    request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
        text.append(data, size);
        for (std::size_t end = text.find("\n\n"); end != std::string::npos; end = text.find("\n\n")) {
            const std::string event = text.substr(6, end - 6);
            text.erase(0, end + 2);
            if (event.find("\"token_ms\"") != std::string::npos) watch.token();
            if (event.find("\"accepted_to_submitted_us\"") != std::string::npos)
                timings = Json::parse(event)["timings"];
        }
        return true;
    };
    const auto result = client.send(request);
    if (!result || result->status != 200)
        throw std::runtime_error("the server answers " + (result ? std::to_string(result->status) + text : "nothing"));
    Seen seen = watch.seen();
    seen.timings = timings;
    return seen;
}

// Puts other bytes into the caches of all cores, as the work of others between two requests does, or a core that
// sleeps. Nothing for 0 MB.
void sweep_caches(int mb) {
    static std::vector<std::uint64_t> memory(static_cast<std::size_t>(mb) << 17);
    const auto read_all = [] {
        constexpr std::size_t kLine = 64 / sizeof(std::uint64_t);
        volatile std::uint64_t sum = 0;
        for (std::size_t i = 0; i < memory.size(); i += kLine) sum = sum + memory[i];
    };
    std::vector<std::jthread> threads;
    if (mb > 0)
        for (unsigned i = 0; i < std::thread::hardware_concurrency(); ++i) threads.emplace_back(read_all);
}

double median(std::vector<double> values) {
    return vigil::percentile((std::sort(values.begin(), values.end()), values), 50);
}

template <class Get>
double median_of(const std::vector<Seen>& all, Get get) {
    std::vector<double> values;
    values.reserve(all.size());
    for (const Seen& seen : all) values.push_back(get(seen));
    return median(std::move(values));
}

// Token ids that differ from call to call, so that no prompt is a prefix of another.
std::vector<Token> make_prompt(const vigil::Engine& engine, int size) {
    static std::uint32_t state = 1;
    std::vector<Token> prompt;
    for (int i = 0; i < size; ++i) {
        state = state * 1664525u + 1013904223u;
        prompt.push_back(
            static_cast<Token>((state >> 8) % 256u % static_cast<std::uint32_t>(engine.config().vocab_size)));
    }
    return prompt;
}

Json compare(vigil::Engine& engine, int port, const Options& o) {
    std::vector<Seen> engine_seen;
    std::vector<Seen> server_seen;
    for (int i = 0; i <= o.rounds; ++i) {
        // Not the same prompt: the second would find it in the KV cache.
        const Seen a = straight(engine, make_prompt(engine, kShortPrompt), o.tokens);
        sweep_caches(o.sweep_mb);
        const Seen b = through_http(port, make_prompt(engine, kShortPrompt), o.tokens);
        if (i == 0) continue;  // makes the connection, wakes the kernel
        engine_seen.push_back(a);
        server_seen.push_back(b);
    }
    const auto timing = [](const char* name) {
        return [name](const Seen& s) { return s.timings.at(name).get<double>(); };
    };
    const auto speed = [](const Seen& s) { return s.tokens_per_second; };
    const double before = median_of(server_seen, timing("accepted_to_submitted_us"));
    const double after = median_of(server_seen, timing("token_to_socket_us_p50"));
    const double engine_speed = median_of(engine_seen, speed);
    const double server_speed = median_of(server_seen, speed);
    return {{"accepted_to_submitted_us_p50", before},
            {"token_to_socket_us_p50", after},
            {"together_us_p50", before + after},
            {"first_token_ms_p50_engine", median_of(engine_seen, [](const Seen& s) { return s.first_ms; })},
            {"first_token_ms_p50_client", median_of(server_seen, [](const Seen& s) { return s.first_ms; })},
            {"tokens_per_second_engine", engine_speed},
            {"tokens_per_second_client", server_speed},
            {"tokens_per_second_ratio", server_speed / engine_speed}};
}

// A conversation of so many tokens, and then a turn of a few more.
Json next_turn(vigil::Engine& engine, int port, const Options& o) {
    std::vector<Seen> all;
    for (int i = 0; i < o.rounds; ++i) {
        std::vector<Token> prompt = make_prompt(engine, o.conversation);
        through_http(port, prompt, 1);
        const std::vector<Token> turn = make_prompt(engine, o.turn);
        prompt.insert(prompt.end(), turn.begin(), turn.end());
        all.push_back(through_http(port, prompt, 4));
    }
    return {{"conversation_tokens", o.conversation},
            {"turn_tokens", o.turn},
            {"reused_tokens", all.back().timings.value("reused_tokens", 0)},
            {"first_token_ms_p50_client", median_of(all, [](const Seen& s) { return s.first_ms; })},
            {"first_token_ms_p50_engine",
             median_of(all, [](const Seen& s) { return s.timings.at("time_to_first_token_ms").get<double>(); })}};
}

}  // namespace

int main(int argc, char** argv) {
    Options o;
    CLI::App app("Measures what the server costs beside the engine; prints JSON.", "serve_latency");
    app.add_option("MODEL", o.model, "GGUF file")->required();
    app.add_option("--device", o.engine.device, "auto, cuda, cuda:N or cpu")->capture_default_str();
    app.add_option("-t,--threads", o.engine.cpu_threads, "Threads of the CPU device; 0: all cores")
        ->capture_default_str();
    app.add_option("--rounds", o.rounds, "Requests each way")->capture_default_str();
    app.add_option("-n,--tokens", o.tokens, "Tokens of an answer")->capture_default_str();
    app.add_option("--conversation", o.conversation, "Tokens of the conversation that a turn continues")
        ->capture_default_str();
    app.add_option("--turn", o.turn, "Tokens of that turn")->capture_default_str();
    app.add_option("--sweep", o.sweep_mb,
                   "MB that every core reads before a request to the server, so that its caches are cold")
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        o.engine.ctx_size = o.conversation + o.turn + o.tokens + 64;
        vigil::Engine engine = vigil::Engine::load(o.model, o.engine);
        vigil::serve::ServerOptions options;
        options.port = 0;
        vigil::serve::Server server(engine, nullptr, options);
        const Json result = {{"model", o.model},
                             {"device", engine.device_info().name},
                             {"rounds", o.rounds},
                             {"tokens", o.tokens},
                             {"sweep_mb", o.sweep_mb},
                             {"server", compare(engine, server.port(), o)},
                             {"next_turn", next_turn(engine, server.port(), o)}};
        std::cout << result.dump(2) << "\n";
    } catch (const std::exception& error) {
        std::cerr << "serve_latency: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
