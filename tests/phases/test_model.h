// Synthetic models for the tests, written to a folder that goes away with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/synth/model_spec.h"
#include "host/gguf/gguf.h"

namespace vigil::phases {

class TestModel {
   public:
    // What a ModelSpec cannot say.
    struct Changes {
        std::map<std::string, std::uint32_t> keys = {};
        // Types of tensors by their names, for a mixture that no recipe makes.
        std::map<std::string, gguf::TensorType> types = {};
        // Called with every tensor's name and bytes.
        std::function<void(const std::string& name, std::vector<std::byte>& data)> edit = {};
    };

    explicit TestModel(const synth::ModelSpec& spec);
    TestModel(const synth::ModelSpec& spec, const Changes& changes);
    ~TestModel();
    TestModel(const TestModel&) = delete;
    TestModel& operator=(const TestModel&) = delete;

    const gguf::File& file() const { return *file_; }

   private:
    std::filesystem::path folder_;
    std::optional<gguf::File> file_;
};

// A small model of one architecture; the caller changes what its test is about.
synth::ModelSpec small_spec(const std::string& architecture = "llama");

}  // namespace vigil::phases
