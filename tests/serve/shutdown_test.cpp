// `vigil serve` as a process: where it listens, what it prints, and how it ends.
#include <chrono>
#include <csignal>
#include <doctest/doctest.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/serve/limits.h"
#include "tests/cli/child.h"
#include "tests/cli/files.h"
#include "tests/serve/http.h"

using namespace vigil::test;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

// `vigil serve` on a free port, with the synthetic model.
class Serving {
   public:
    explicit Serving(std::vector<std::string> more = {})
        : child_([&] {
              std::vector<std::string> words = {"serve", tiny_model(),      "--port", "0",  "-t",
                                                "1",     "--chat-template", "chatml", "-c", "100000"};
              words.insert(words.end(), more.begin(), more.end());
              return on_device(words);
          }()) {
        std::string line;
        while (line.find('\n') == std::string::npos) {
            const std::string piece = child_.read(1);
            if (piece.empty()) break;
            line += piece;
        }
        REQUIRE_MESSAGE(line.starts_with("listening on http://127.0.0.1:"), line);
        port_ = std::stoi(line.substr(line.rfind(':') + 1));
    }

    int port() const { return port_; }
    Child& child() { return child_; }

   private:
    Child child_;
    int port_ = 0;
};

// More than any test waits for.
std::string long_stream() {
    return post_text("/v1/completions",
                     R"({"prompt": "in the end", "stream": true, "max_tokens": 90000, "ignore_eos": true})");
}

// Waits until the server has read so many requests that are not answered yet, behind the one that is.
bool await_waiting(int port, int n) {
    const std::string wanted = "\nvigil_requests_waiting " + std::to_string(n) + "\n";
    for (const auto give_up = Clock::now() + kPatience; Clock::now() < give_up; std::this_thread::sleep_for(10ms))
        if (get(port, "/metrics").body.find(wanted) != std::string::npos) return true;
    return false;
}

// Waits until no new connection is taken.
bool await_refusal(int port) {
    for (const auto give_up = Clock::now() + kPatience; Clock::now() < give_up; std::this_thread::sleep_for(10ms)) {
        try {
            const Socket attempt(port);
        } catch (const std::runtime_error&) {
            return true;
        }
    }
    return false;
}

}  // namespace

TEST_CASE("SIGTERM and Ctrl-C end an idle server at once with exit code 0") {
    for (const int signal : {SIGTERM, SIGINT}) {
        Serving serving;
        CHECK(get(serving.port(), "/health").status == 200);
        Socket idle(serving.port());
        idle.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(idle.read_reply().status == 200);
        const auto started = Clock::now();
        serving.child().send(signal);
        const Result result = serving.child().wait();
        CHECK(result.exit_code == 0);
        CHECK(Clock::now() - started < vigil::serve::Limits{}.idle);
        CHECK(result.err.find("GET /health 200") != std::string::npos);
        CHECK(idle.read_to_end() == "");
    }
}

TEST_CASE("SIGTERM lets short answers end and takes no new ones") {
    Serving serving({"--drain", "60"});
    Socket client(serving.port());
    client.send(
        post_text("/v1/completions", R"({"prompt": "a", "stream": true, "max_tokens": 300, "ignore_eos": true})"));
    REQUIRE(client.read_until("data: "));
    serving.child().send(SIGTERM);
    CHECK(client.read_until("[DONE]"));
    CHECK(client.seen().find("\"finish_reason\":\"length\"") != std::string::npos);
    CHECK(serving.child().wait().exit_code == 0);
    CHECK_THROWS(Socket(serving.port()));
}

TEST_CASE("SIGTERM under load cancels what is left when its time is over, and says so to each client") {
    Serving serving({"--drain", "1"});
    std::vector<Socket> clients;
    for (int i = 0; i < 12; ++i) {
        clients.emplace_back(serving.port());
        clients.back().send(long_stream());
    }
    // What the server has not read when the signal comes it may leave without an answer.
    REQUIRE(await_waiting(serving.port(), 11));
    serving.child().send(SIGTERM);
    int told = 0;
    for (Socket& client : clients) {
        const auto all = client.read_to_end();
        REQUIRE(all);
        told += all->find("shutting down") != std::string::npos ? 1 : 0;
    }
    CHECK(told == 12);
    CHECK(serving.child().wait().exit_code == 0);
}

TEST_CASE("a second signal cuts the drain short") {
    Serving serving({"--drain", "600"});
    Socket client(serving.port());
    client.send(long_stream());
    REQUIRE(client.read_until("data: "));
    const auto started = Clock::now();
    serving.child().send(SIGTERM);
    REQUIRE(await_refusal(serving.port()));  // two signals at once would be one
    serving.child().send(SIGTERM);
    CHECK(serving.child().wait().exit_code == 0);
    CHECK(Clock::now() - started < kPatience);
}

TEST_CASE("a port that is taken is a failure that names it") {
    Serving serving;
    const Result result = run(on_device({"serve", tiny_model(), "--port", std::to_string(serving.port()), "-t", "1"}));
    CHECK(result.exit_code == 1);
    CHECK(result.err.find(std::to_string(serving.port())) != std::string::npos);
    CHECK(result.err.find("in use") != std::string::npos);
}

TEST_CASE("the key may come from the environment, and the log keeps to one line a request") {
    setenv("VIGIL_API_KEY", "from outside", 1);
    Serving serving;
    unsetenv("VIGIL_API_KEY");
    CHECK(get(serving.port(), "/v1/models").status == 401);
    CHECK(get(serving.port(), "/v1/models", "Authorization: Bearer from outside\r\n").status == 200);
    CHECK(get(serving.port(), "/a%0Afake%1b[31mline").status == 404);
    serving.child().send(SIGTERM);
    const Result result = serving.child().wait();
    CHECK(result.err.find("from outside") == std::string::npos);
    CHECK(result.err.find("\nfake") == std::string::npos);
    CHECK(result.err.find('\x1b') == std::string::npos);
}
