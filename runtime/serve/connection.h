// One client's connection. Reading has a deadline for the whole head and the whole body, not for each byte; writing
// never waits: what the socket does not take stays here, so that a slow reader holds up nobody but itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/serve/limits.h"

namespace vigil::serve {

// What is known of a request when it is over.
struct RequestRecord {
    std::string peer, method, path;  // method and path are empty for what was refused before it was read
    int status = 0;
    std::uint64_t bytes = 0;  // of the answer
    double ms = 0;            // from the whole head to the answer's last byte
    std::string note;         // what else there is to say
};

class Connection {
   public:
    using Clock = std::chrono::steady_clock;

    // Takes `socket` over.
    Connection(int socket, const Limits& limits);
    ~Connection();  // closes the socket
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // ---- reading requests ----
    enum class Arrival { head, closed, timed_out, too_large, no_http };
    // Waits until the whole head of the next request is here.
    Arrival await_head();
    // With its empty line; valid until the next read.
    std::string_view head() const { return std::string_view(input_).substr(at_, head_bytes_); }
    // The head has been read, and the body's time begins.
    void begin_body();
    // What has come and has not been taken: of a head that is not whole, or from the body on. Valid until the next
    // read.
    std::string_view arrived() const { return std::string_view(input_).substr(at_); }
    void take(std::size_t size) { at_ += size; }
    // Waits for more of the body. False: read_fault() says why.
    bool await_more();
    // How long its bytes were waited for, which is the client's time and not the server's.
    Clock::duration waited_for_body() const { return waited_; }

    // Why the last read gave nothing.
    enum class ReadFault { none, closed, timed_out };
    ReadFault read_fault() const { return read_fault_; }

    // ---- writing ----
    // Keeps `bytes` to be sent. A reader that has left too much behind is given up.
    void write(std::string_view bytes);
    // Sends what the socket takes now. False: the reader has gone or was given up, or took nothing for too long.
    bool flush_some();
    // Sends everything, as long as the reader takes it.
    bool flush_all();
    std::uint64_t bytes_written() const { return bytes_written_; }

    // The connection ends with this answer, because the rest of the request was not read.
    void close_after_answer() { closes_ = true; }
    bool closes_after_answer() const { return closes_; }
    // Tells the client that nothing more comes, and takes for a moment what it still sends: closing at once would make
    // the operating system throw the answer away.
    void say_goodbye();

    int socket() const { return socket_; }
    Clock::time_point request_arrived() const { return request_arrived_; }
    // "127.0.0.1:5000", "[::1]:5000"
    const std::string& peer() const { return peer_; }

    // Of the request under way: everyone who deals with it writes what they know.
    RequestRecord record;

   private:
    bool fill(Clock::time_point deadline);  // sets read_fault_

    const int socket_;
    const Limits& limits_;
    std::string peer_;
    std::string input_;  // from at_ on: arrived and not read
    std::size_t at_ = 0;
    std::size_t head_bytes_ = 0;
    Clock::time_point read_deadline_;
    Clock::time_point request_arrived_ = Clock::now();
    Clock::duration waited_{};  // for bytes, since begin_body()
    ReadFault read_fault_ = ReadFault::none;
    std::string output_;  // from sent_ on: to be sent
    std::size_t sent_ = 0;
    std::uint64_t bytes_written_ = 0;
    Clock::time_point last_taken_;  // when the socket took something, or there was nothing to take
    bool broken_ = false;
    bool closes_ = false;
};

}  // namespace vigil::serve
