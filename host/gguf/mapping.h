// A whole file mapped read-only into memory, unmapped when the object dies.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace vigil::gguf {

class Mapping {
   public:
    // Throws gguf::Error that names the path and the system's reason. Only regular files that are not empty can be
    // mapped. Whoever truncates the file while it is mapped makes later reads fail with SIGBUS: a model file must not
    // be rewritten in place under a running program (Writer renames a finished file into place for this reason).
    explicit Mapping(const std::filesystem::path& path);
    ~Mapping();

    Mapping(Mapping&& other) noexcept;
    Mapping& operator=(Mapping&& other) noexcept;

    std::span<const std::byte> bytes() const noexcept { return bytes_; }

   private:
    void release() noexcept;

    std::span<const std::byte> bytes_;
};

}  // namespace vigil::gguf
