#include "tests/cli/files.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "bench/synth/model_spec.h"
#include "bench/synth/write_model.h"

namespace vigil::test {
namespace {

class Folder {
   public:
    Folder() {
        std::string name = std::filesystem::temp_directory_path() / "vigil-cli-XXXXXX";
        if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder can be made at " + name);
        path_ = name;
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    const std::filesystem::path& path() const { return path_; }

   private:
    std::filesystem::path path_;
};

const std::filesystem::path& folder() {
    static const Folder the_folder;
    return the_folder.path();
}

}  // namespace

std::filesystem::path new_path(std::string_view name) {
    static int n = 0;
    return folder() / (std::to_string(n++) + "-" + std::string(name));
}

std::filesystem::path write_file(std::string_view name, std::string_view content) {
    std::filesystem::path path = new_path(name);
    std::ofstream(path, std::ios::binary) << content;
    return path;
}

std::string read_file(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

std::string tiny_model() {
    static const std::string the_path = [] {
        const std::filesystem::path path = new_path("tiny.gguf");
        synth::write_model(synth::preset("tiny"), path);
        return path.string();
    }();
    return the_path;
}

std::vector<std::string> on_device(std::vector<std::string> arguments) {
    const char* device = std::getenv("VIGIL_TEST_DEVICE");
    arguments.emplace_back("--device");
    arguments.emplace_back(device != nullptr ? device : "cpu");
    return arguments;
}

}  // namespace vigil::test
