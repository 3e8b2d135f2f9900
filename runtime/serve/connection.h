// One client's connection, as the stream that the HTTP library reads from and writes to. Reading has a deadline for
// the whole head and the whole body, not for each byte; writing never waits: what the socket does not take stays here,
// so that a slow reader holds up nobody but itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <httplib.h>
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

class Connection final : public httplib::Stream {
   public:
    using Clock = std::chrono::steady_clock;

    // Takes `socket` over. `id` > 0, never reused.
    Connection(int socket, std::uint64_t id, const Limits& limits);
    ~Connection() override;  // closes the socket
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // ---- reading requests ----
    enum class Arrival { head, closed, timed_out, too_large, no_http };
    // Waits until the whole head of the next request is here.
    Arrival await_head();
    // With its empty line; valid until the next read.
    std::string_view head() const { return std::string_view(input_).substr(at_, head_bytes_); }
    // What has come of a head that is not whole.
    std::string_view arrived() const { return std::string_view(input_).substr(at_); }
    // The body's time begins.
    void begin_body();
    // How long its bytes were waited for, which is the client's time and not the server's.
    Clock::duration waited_for_body() const { return waited_; }

    // Why the last read gave nothing.
    enum class ReadFault { none, closed, timed_out, too_large };
    ReadFault read_fault() const { return read_fault_; }

    // ---- writing ----
    // Sends what the socket takes now. False: the reader has gone, or took nothing for too long.
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

    std::uint64_t id() const { return id_; }
    Clock::time_point request_arrived() const { return request_arrived_; }
    // "127.0.0.1:5000", "[::1]:5000"
    std::string peer() const;

    // Of the request under way: everyone who deals with it writes what they know.
    RequestRecord record;

    // The connection that this thread serves.
    static Connection* current() { return current_; }

    // ---- httplib::Stream ----
    bool is_readable() const override { return read_fault_ == ReadFault::none; }
    bool is_writable() const override { return !broken_; }
    ssize_t read(char* to, size_t size) override;
    ssize_t write(const char* from, size_t size) override;
    void get_remote_ip_and_port(std::string& ip, int& port) const override;
    void get_local_ip_and_port(std::string& ip, int& port) const override;
    socket_t socket() const override { return socket_; }

   private:
    bool fill(Clock::time_point deadline);  // sets read_fault_

    const int socket_;
    const std::uint64_t id_;
    const Limits& limits_;
    std::string peer_ip_, own_ip_;
    int peer_port_ = 0, own_port_ = 0;
    std::string input_;  // from at_ on: arrived and not read
    std::size_t at_ = 0;
    std::size_t head_bytes_ = 0;
    std::size_t may_read_ = 0;  // of this request
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
    static thread_local Connection* current_;
};

}  // namespace vigil::serve
