// A client as a process of its own, for a test that kills it: sends a request, says "answered" when the first event of
// the answer has come, and reads on until the server closes.
//   client_process PORT REQUEST
#include <chrono>
#include <cstdio>
#include <string>

#include "tests/serve/http.h"

int main(int argc, char** argv) {
    if (argc != 3) {
        std::puts("client_process PORT REQUEST");
        return argc == 2 && std::string(argv[1]) == "--help" ? 0 : 2;
    }
    vigil::test::Socket socket(std::stoi(argv[1]));
    if (!socket.send(argv[2])) return 1;
    if (socket.read_until("data: ")) {
        std::puts("answered");
        std::fflush(stdout);
    }
    return socket.read_to_end(std::chrono::hours(1)) ? 0 : 1;
}
