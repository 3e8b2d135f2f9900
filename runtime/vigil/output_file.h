// A file that is there whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace vigil::program {

// Writes beside `path` and takes its name with commit(); without that nothing is left behind.
// Everything throws std::runtime_error naming the file and what is wrong.
class OutputFile {
   public:
    explicit OutputFile(std::filesystem::path path);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::span<const std::byte> bytes);
    void commit();

   private:
    [[noreturn]] void fail() const;

    std::filesystem::path path_;
    std::filesystem::path unfinished_;
    int descriptor_ = -1;
};

}  // namespace vigil::program
