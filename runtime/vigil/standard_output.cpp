#include "runtime/vigil/standard_output.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <unistd.h>

#include "runtime/vigil/commands.h"

namespace vigil::program {

void write_out(std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
        if (written >= 0)
            text.remove_prefix(static_cast<std::size_t>(written));
        else if (errno == EPIPE)
            throw ClosedOutput("standard output was closed");
        else if (errno != EINTR)
            throw std::runtime_error(std::string("standard output: ") + std::strerror(errno));
    }
}

}  // namespace vigil::program
