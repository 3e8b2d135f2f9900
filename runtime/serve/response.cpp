#include "runtime/serve/response.h"

#include <fmt/format.h>
#include <iterator>

namespace vigil::serve {

bool StreamWriter::write(std::string_view bytes) {
    if (is_chunked_) connection_.write(fmt::format("{:x}\r\n", bytes.size()));
    connection_.write(bytes);
    if (is_chunked_) connection_.write("\r\n");
    return connection_.flush_some();
}

void Response::set_json(std::string text) {
    type = "application/json";
    body = std::move(text);
}

void Response::set_error(const ApiError& error) {
    status = error.status;
    set_json(error.json());
}

bool send_response(Connection& connection, const RequestHead& head, const Response& response) {
    const bool is_chunked = response.stream && head.is_1_1;
    // HTTP/1.0 knows no chunks: the end of the connection is that of the stream.
    const bool closes = head.asks_to_close || connection.closes_after_answer() || (response.stream && !is_chunked);
    std::string text = fmt::format(
        "HTTP/1.1 {} {}\r\nServer: vigil\r\nX-Content-Type-Options: nosniff\r\nContent-Type: {}\r\nConnection: {}\r\n",
        response.status, reason_phrase(response.status), response.type, closes ? "close" : "keep-alive");
    const auto add = [&](std::string_view name, std::string_view value) {
        fmt::format_to(std::back_inserter(text), "{}: {}\r\n", name, value);
    };
    for (const auto& [name, value] : response.headers) add(name, value);
    if (!response.stream) add("Content-Length", std::to_string(response.body.size()));
    if (is_chunked) add("Transfer-Encoding", "chunked");
    connection.write(text + "\r\n");
    bool whole = true;
    if (response.stream) {
        StreamWriter writer(connection, is_chunked);
        whole = response.stream(writer);
        if (whole && is_chunked) connection.write("0\r\n\r\n");
    } else if (head.method != "HEAD") {
        connection.write(response.body);
    }
    // What came before a stream was cut off is sent as well.
    return connection.flush_all() && whole && !closes && !connection.closes_after_answer();
}

}  // namespace vigil::serve
