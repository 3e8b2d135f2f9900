#include "runtime/serve/server.h"

#include <condition_variable>
#include <fmt/format.h>
#include <mutex>
#include <string_view>
#include <utility>

#include "runtime/serve/completions_api.h"
#include "runtime/serve/json.h"
#include "runtime/serve/json_fields.h"
#include "runtime/serve/page.h"
#include "runtime/serve/parameters.h"
#include "runtime/serve/service.h"

namespace vigil::serve {
namespace {

using namespace std::chrono_literals;

constexpr auto kLook = 10ms;
// How long a cancelled request has to tell its client so.
constexpr auto kLastWords = 2s;

using Access = HttpServer::Access;

void add_tokenizer(HttpServer& http, const Tokenizer& tokenizer, const Limits& limits) {
    http.post("/tokenize", Access::with_key, [&](Exchange& exchange) {
        const InputJson body = parse_object(exchange.body, limits);
        const Fields fields(body);
        const auto content = fields.text("content");
        if (!content) throw invalid_request("content is missing", "content", "missing_field");
        const EncodeOptions options{.add_bos = fields.boolean("add_special").value_or(false),
                                    .parse_special = fields.boolean("parse_special").value_or(true)};
        const bool with_pieces = fields.boolean("with_pieces").value_or(false);
        Json tokens = Json::array();
        for (const Token token : tokenizer.encode(*content, options)) {
            if (with_pieces)
                tokens.push_back({{"id", token}, {"piece", tokenizer.piece(token, true)}});
            else
                tokens.push_back(token);
        }
        exchange.response.set_json(dump({{"tokens", std::move(tokens)}}));
    });
    http.post("/detokenize", Access::with_key, [&](Exchange& exchange) {
        const InputJson body = parse_object(exchange.body, limits);
        const InputJson* list = Fields(body).find("tokens");
        if (list == nullptr) throw invalid_request("tokens is missing", "tokens", "missing_field");
        const std::vector<Token> tokens = read_tokens(*list, "tokens");
        for (const Token token : tokens)
            if (token >= tokenizer.vocab_size())
                throw invalid_request(
                    fmt::format("tokens has {}: the vocabulary has {}", token, tokenizer.vocab_size()), "tokens",
                    "invalid_value");
        exchange.response.set_json(dump({{"content", tokenizer.decode(tokens, true)}}));
    });
}

Json model_object(const Service& service, std::int64_t started) {
    return {{"id", service.model_name},
            {"object", "model"},
            {"created", started},
            {"owned_by", "vigil"},
            {"context_length", service.engine.context_size()},
            {"has_chat_template", service.chat != nullptr}};
}

}  // namespace

struct Server::Impl {
    Impl(Engine& engine, const ChatTemplate* chat, ServerOptions the_options)
        : options(std::move(the_options)),
          service(engine, chat, options.model_name, options.queue, options.limits),
          http({.host = options.host,
                .port = options.port,
                .limits = options.limits,
                .api_key = options.api_key,
                .on_request = [this](const RequestRecord& record) { take_record(record); }}) {
        http.post("/v1/chat/completions", Access::with_key, [this](Exchange& e) { chat_completions(service, e); });
        http.post("/v1/completions", Access::with_key, [this](Exchange& e) { completions(service, e); });
        add_tokenizer(http, engine.tokenizer(), service.limits);
        add_views();
        http.start();
    }

    void add_views() {
        const auto started =
            std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
                .count();
        http.get("/v1/models", Access::with_key, [this, started](Exchange& e) {
            const Json list = {{"object", "list"}, {"data", Json::array({model_object(service, started)})}};
            e.response.set_json(dump(list));
        });
        http.get("/health", Access::open, [this](Exchange& e) {
            if (http.stopping()) e.response.status = 503;
            e.response.set_json(dump({{"status", http.stopping() ? "stopping" : "ok"}}));
        });
        http.get("/metrics", Access::with_key, [this](Exchange& e) {
            const Metrics::Now now{.waiting = service.turns.waiting(),
                                   .running = service.turns.busy() ? 1u : 0u,
                                   .connections = http.connections(),
                                   .engine = service.engine.statistics()};
            e.response.type = "text/plain; version=0.0.4";
            e.response.body = service.metrics.text(now);
        });
        http.get("/", Access::open, [](Exchange& e) {
            const Page page = make_page();
            e.response.headers = {{"Content-Security-Policy", page.policy},
                                  {"Referrer-Policy", "no-referrer"},
                                  {"Cache-Control", "no-store"}};
            e.response.type = "text/html; charset=utf-8";
            e.response.body = page.html;
        });
    }

    void take_record(const RequestRecord& record) {
        // Paths that are not the server's own would be as many as a client likes.
        service.metrics.request(record.status == 404 ? "" : record.path, record.status);
        if (options.on_request) options.on_request(record);
    }

    const ServerOptions options;
    Service service;
    HttpServer http;
};

Server::Server(Engine& engine, const ChatTemplate* chat, ServerOptions options)
    : impl_(std::make_unique<Impl>(engine, chat, std::move(options))) {}

Server::~Server() {
    drain(0ms);
}

int Server::port() const {
    return impl_->http.port();
}

std::string Server::url() const {
    const std::string& host = impl_->options.host;
    const bool is_v6 = host.find(':') != std::string::npos;
    return fmt::format("http://{}:{}", is_v6 ? fmt::format("[{}]", host) : host, port());
}

void Server::drain(std::chrono::milliseconds patience, const std::function<bool()>& impatient) {
    using Clock = std::chrono::steady_clock;
    HttpServer& http = impl_->http;
    http.stop_accepting();
    const auto await_end = [&](Clock::time_point deadline) {
        while (http.connections() > 0 && Clock::now() < deadline && !impatient()) std::this_thread::sleep_for(kLook);
    };
    await_end(Clock::now() + patience);
    impl_->service.requests.cancel_all(Cancellation::Why::shutting_down);
    await_end(Clock::now() + std::min<std::chrono::milliseconds>(kLastWords, impl_->options.limits.write));
    http.cut_connections();
    http.join();
}

}  // namespace vigil::serve
