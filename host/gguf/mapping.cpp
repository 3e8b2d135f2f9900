#include "host/gguf/mapping.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "host/gguf/gguf.h"

namespace vigil::gguf {
namespace {

// Closes the descriptor on every way out; a mapping does not need it.
class Descriptor {
   public:
    explicit Descriptor(int fd) noexcept : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const noexcept { return fd_; }

   private:
    int fd_;
};

[[noreturn]] void fail(const std::filesystem::path& path, std::string_view action, int error) {
    throw Error(fmt::format("{}: cannot {}: {}", path.string(), action, std::generic_category().message(error)));
}

}  // namespace

Mapping::Mapping(const std::filesystem::path& path) {
    // O_NONBLOCK: a named pipe without a writer must be refused below, not waited for.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) fail(path, "open", errno);
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) fail(path, "stat", errno);
    if (S_ISDIR(info.st_mode)) throw Error(fmt::format("{}: is a directory, not a GGUF file", path.string()));
    if (!S_ISREG(info.st_mode)) throw Error(fmt::format("{}: is no regular file", path.string()));
    if (info.st_size == 0) throw Error(fmt::format("{}: is empty (0 bytes), not a GGUF file", path.string()));

    const auto size = static_cast<std::size_t>(info.st_size);
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) fail(path, fmt::format("map {} bytes", size), errno);
    bytes_ = {static_cast<const std::byte*>(address), size};
}

Mapping::~Mapping() {
    release();
}

Mapping::Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    if (this != &other) {
        release();
        bytes_ = std::exchange(other.bytes_, {});
    }
    return *this;
}

void Mapping::release() noexcept {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
    bytes_ = {};
}

}  // namespace vigil::gguf
