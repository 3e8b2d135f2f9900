#include "runtime/vigil/output_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdexcept>
#include <unistd.h>
#include <utility>

namespace vigil::program {

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)), unfinished_(path_) {
    unfinished_ += fmt::format(".unfinished-{}", getpid());
    if (std::filesystem::is_directory(path_)) {
        errno = EISDIR;
        fail();
    }
    descriptor_ = open(unfinished_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail();
}

OutputFile::~OutputFile() {
    if (descriptor_ < 0) return;
    close(descriptor_);
    unlink(unfinished_.c_str());
}

void OutputFile::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
        if (written >= 0)
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        else if (errno != EINTR)
            fail();
    }
}

void OutputFile::commit() {
    // Some file systems tell only now that a write has failed.
    if (fsync(descriptor_) != 0 && errno != EINVAL) fail();
    if (rename(unfinished_.c_str(), path_.c_str()) != 0) fail();
    close(std::exchange(descriptor_, -1));
}

void OutputFile::fail() const {
    throw std::runtime_error(fmt::format("{}: {}", path_.string(), std::strerror(errno)));
}

}  // namespace vigil::program
