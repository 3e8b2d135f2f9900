// Clients of a server under test: well-behaved ones, and sockets that send and read what they like.
#pragma once

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/patience.h"

namespace vigil::test {

using Json = nlohmann::ordered_json;

struct Reply {
    int status = 0;                              // 0: none came
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;

    Json json() const { return Json::parse(body); }
    // error.message of an error reply; empty if the body has another shape.
    std::string error_message() const;
    std::string error_code() const;
};

// A connection to 127.0.0.1:`port`. Every wait ends after kPatience, if not said otherwise.
class Socket {
   public:
    explicit Socket(int port);
    ~Socket();
    Socket(Socket&& other) noexcept;
    Socket& operator=(Socket&&) = delete;

    // False if the server has closed.
    bool send(std::string_view bytes);
    // What comes within `time`; empty if nothing does or the server has closed.
    std::string read_some(std::chrono::milliseconds time = kPatience);
    // Until the server closes; nothing if it does not within `time`.
    std::optional<std::string> read_to_end(std::chrono::milliseconds time = kPatience);
    // One reply; the next begins where it ends.
    Reply read_reply();
    // Until `text` has come; false if it does not.
    bool read_until(std::string_view text);
    const std::string& seen() const { return seen_; }
    // Small buffers, so that what is not read stays with the server soon.
    void shrink_receive_buffer() const;
    void close();
    void reset();  // closes with RST, as the system does for a killed process with unread data

   private:
    int socket_;
    std::string seen_;
};

std::string post_text(std::string_view path, std::string_view body, std::string_view more_headers = {});
Reply get(int port, const std::string& path, const std::string& more_headers = {});
Reply post(int port, const std::string& path, const Json& body);
Reply post_raw(int port, const std::string& path, const std::string& body, const std::string& more_headers = {});

// The JSON of each event of a streamed reply, without the closing [DONE], which must be there.
std::vector<Json> events(const Reply& reply);

}  // namespace vigil::test
